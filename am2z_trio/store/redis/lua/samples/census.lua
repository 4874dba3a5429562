-- What is so now, beside what `queues/stats` counts.
--
-- KEYS     anchor
-- ARGV     clock, queues
-- RETURNS  {nodes with a lease, sessions with jobs}, then per queue: {ms that the job has waited which came first, or
--          was due first; 1 if it is paused; 1 if it is held; 1 if its processor's circuit is open}
-- INVARIANT  reads only. Of each line the first few entries are looked at, of sessions those that are served next.

local clock = unpack(ARGV, 1, 1)
local now = read_clock(clock)
local LANES, HEADS = 20, 3

local function waited(id)
  local v = redis.call('HMGET', job_key(id), 'status', 'at', 'due')
  if v[1] ~= 'waiting' then return -1 end
  return math.max(0, now - math.max(number(v[2], now), number(v[3], 0)))
end

local function of_line(name)
  local left = HEADS
  for _, list in ipairs({ sieved_key(name), wait_key(name) }) do
    for index = 0, left - 1 do
      local entry = redis.call('LINDEX', list, index)
      if not entry then break end
      left = left - 1
      local found = waited((read_entry(entry)))
      if found >= 0 then return found end
    end
  end
  return 0
end

local function oldest(queue)
  local found = of_line(queue)
  for _, skey in ipairs(redis.call('ZRANGE', ready_key(queue), 0, LANES - 1)) do
    found = math.max(found, of_line(queue .. '@' .. skey))
  end
  for _, id in ipairs(redis.call('ZRANGE', prio_key(queue), 0, LANES - 1)) do found = math.max(found, waited(id)) end
  return found
end

local answers = { { redis.call('ZCOUNT', nodes_key(), whole(now), '+inf'), redis.call('HLEN', sessions_key()) } }
for i = 2, #ARGV do
  local queue = ARGV[i]
  local meta = redis.call('HMGET', meta_key(queue), 'held', 'waiting', 'paused')
  local circuit = redis.call('HMGET', breaker_key(queue), 'state', 'until')
  local is_broken = circuit[1] == 'open' and number(circuit[2], 0) > now
  local some = number(meta[2] or 0, 0) > 0
  answers[#answers + 1] = { some and oldest(queue) or 0, meta[3] and 1 or 0, some and meta[1] and 1 or 0,
    is_broken and 1 or 0 }
end
return answers
