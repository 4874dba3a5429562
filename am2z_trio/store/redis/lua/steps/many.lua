-- Many waits of one job, of which no call goes through all. Follows waits.
--
-- Few are packed in `open`, and so are those of a job that is parked, however many: where it takes part in a rolling
-- deployment, a version that knows nothing of this finds them there, and may change them. Of many that are packed
-- `#<name>` hold as long as `counted` does: what begins a wait counts it, and what ends one makes `open` shorter.

local function is_counted(box)
  local v = redis.call('HMGET', box, 'counted', 'begun')
  return v[1] and v[1] == (v[2] or '') .. ' ' .. whole(redis.call('HSTRLEN', box, 'open'))
end

local function has_wait_for(id, name)
  local many = redis.call('HGET', waits_key(id), '#' .. name)
  if is_counted(waits_key(id)) then return many end
  return many and redis.call('HEXISTS', waits_key(id), 'many') == 1 or waits_for(open_waits(id), name)
end

-- Those that go on, wherever they are, and their keys in order.
local function all_waits(id)
  local found, keys, box = open_waits(id), {}, waits_key(id)
  for _, field in ipairs(redis.call('HEXISTS', box, 'many') == 1 and redis.call('HKEYS', box) or {}) do
    local key = string.match(field, '^%?(.*)$')
    local wait = key and unpacked(redis.call('HGET', box, field))
    if is_wait(wait) then found[key] = wait end
  end
  for key in pairs(found) do keys[#keys + 1] = key end
  table.sort(keys)
  return found, keys
end

local function forget_many(box)
  redis.call('HDEL', box, 'many', 'counted', 'first')
  for _, field in ipairs(redis.call('HKEYS', box)) do
    local kind = string.sub(field, 1, 1)
    if kind == '?' or kind == '#' then redis.call('HDEL', box, field) end
  end
end

-- Counts them by name, and returns for which there are any.
local function count_waits(box, open)
  local named = {}
  for _, wait in pairs(open) do named[wait[1]] = (named[wait[1]] or 0) + 1 end
  for name, many in pairs(named) do redis.call('HSET', box, '#' .. name, whole(many)) end
  return named
end

-- Gives each a field of its own.
local function spread_waits(box, open)
  forget_many(box)
  redis.call('HDEL', box, 'open')
  redis.call('HSET', box, 'many', '1')
  for key, wait in pairs(open) do redis.call('HSET', box, '?' .. key, cmsgpack.pack(wait)) end
  count_waits(box, open)
end

-- Packs those that stay, many or few, by these keys in their order.
local function pack_waits(box, open, keys)
  local packed = cmsgpack.pack(open)
  forget_many(box)
  redis.call('HSET', box, 'open', packed)
  if #keys <= FEW_WAITS then return end
  count_waits(box, open)
  local first = {}
  for index = 1, NAMED do first[index] = open[keys[index]] end
  redis.call('HSET', box, 'first', cmsgpack.pack(first), 'counted',
    (redis.call('HGET', box, 'begun') or '') .. ' ' .. whole(#packed))
end
