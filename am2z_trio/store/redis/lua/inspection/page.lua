-- Some of a queue's jobs, by where they are.
--
-- KEYS     anchor
-- ARGV     clock, queue, 'waiting', 'later', 'active', 'dead' or 'recent', the first place, most places to
--          look at, most jobs
-- RETURNS  {places that there are, the place behind those that were looked at or -1, how many were looked at, and how
--          many of them have no record any more, row, ...}
-- INVARIANT  reads only, and no more than so many records. What is not what its place says is left out.

local clock, queue, source, first, most, wanted = unpack(ARGV)
local now = read_clock(clock)
first, most, wanted = tonumber(first), tonumber(most), tonumber(wanted)

-- By rank: a range by score would count its way there.
local function ranked(command, key, all)
  local last = math.min(first + most, all) - 1
  local found = {}
  if last >= first then
    for n, id in ipairs(redis.call(command, key, first, last)) do found[n] = { id, nil, first + n - 1 } end
  end
  return found, last + 1 < all and last >= first and last + 1 or -1, all
end

local function places()
  if source == 'waiting' then
    local found, next = waiting_at(queue, first, most)
    return found, next, number(redis.call('HGET', meta_key(queue), 'waiting') or 0, 0)
  elseif source == 'active' then
    local found, next = active_at(first, most)
    return found, next, number(redis.call('HGET', meta_key(queue), 'active') or 0, 0)
  elseif source == 'later' then
    return ranked('ZRANGE', later_key(queue), redis.call('ZCARD', later_key(queue)))
  elseif source == 'dead' then
    return ranked('ZREVRANGE', dead_key(queue), redis.call('ZCOUNT', dead_key(queue), '(' .. whole(now), '+inf'))
  end
  return ranked('LRANGE', recent_key(queue), redis.call('LLEN', recent_key(queue)))
end

-- Whether a job is what its place says.
local function belongs(status, of, gen, entry)
  if source == 'active' then return status == 'active' and of == queue end
  if source == 'dead' then return status == 'failed' end
  if source == 'recent' then return ENDED[status] end
  return status == source and (entry[2] == nil or entry[2] == gen)
end

local found, next, of = places()
local answer, gone = { of, next, #found, 0 }, 0
for n, entry in ipairs(found) do
  if #answer == 4 + wanted then
    answer[2], answer[3] = entry[3], n - 1
    break
  end
  local row, status, of_queue, gen = shown(entry[1])
  if not row then
    gone = gone + 1
  elseif belongs(status, of_queue, gen, entry) then
    answer[#answer + 1] = row
  end
end
answer[4] = gone
return answer
