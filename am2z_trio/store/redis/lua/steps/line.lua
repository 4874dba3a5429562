-- Jobs that wait, in their order, or until they are due. Follows the parked nodes.

-- A stored priority; 0 for none.
local function urgency(text)
  local priority = number(text or 0, 0)
  return priority > 0 and priority <= MAX_PRIORITY and math.floor(priority) or 0
end

-- In a list a job that was run again under its id is another entry than the one before, which may still be
-- there: `gen` tells them apart, false for the first.
local function entry_of(id, gen) return gen and id .. '\0' .. gen or id end

local function read_entry(entry)
  if not string.find(entry, '\0', 1, true) then return entry, false end
  local id, gen = string.match(entry, '^(.*)%z(%d+)$')
  return id or entry, gen or false
end

-- Gives a session its turn: after all others, or before them.
local function take_turn(queue, skey, front)
  local place = front and 0 or -1
  local other = redis.call('ZRANGE', ready_key(queue), place, place, 'WITHSCORES')[2]
  redis.call('ZADD', ready_key(queue), whole(other and tonumber(other) + (front and -1 or 1) or 0), skey)
end

-- Gives sessions that have had their turn, some or more, the next one after all others where they have more jobs.
local function take_turns(queue, skeys)
  local lanes, keys, turns = ready_key(queue), {}, {}
  for n, skey in ipairs(skeys) do keys[n] = wait_key(queue .. '@' .. skey) end
  local place = tonumber(redis.call('ZRANGE', lanes, -1, -1, 'WITHSCORES')[2] or -1)
  for n, there in ipairs(existing(keys)) do
    if there then
      place = place + 1
      turns[#turns + 1], turns[#turns + 2] = whole(place), skeys[n]
    end
  end
  if #turns > 0 then redis.call('ZADD', lanes, unpack(turns)) end
end

-- Gives a waiting job its place. `priority` is 0 for none; `skey` is its session's name, or nil; `front`: before the
-- others of its line, and if it is true no more than that, its session's turn before others', too.
local function line_up(queue, id, priority, front, skey, gen)
  hands_out[queue] = false
  if priority > 0 then
    local arrival = 0
    if not front then arrival = redis.call('HINCRBY', meta_key(queue), 'arrivals', 1) % 4294967296 end
    redis.call('ZADD', prio_key(queue), whole(priority * 4294967296 + arrival), id)
    return
  end
  local name = skey and queue .. '@' .. skey or queue
  local length
  if not front then
    length = redis.call('RPUSH', wait_key(name), entry_of(id, gen))
  elseif redis.call('LPUSHX', sieved_key(name), entry_of(id, gen)) == 0 then
    length = redis.call('LPUSH', wait_key(name), entry_of(id, gen))
  end
  if skey and length == 1 then take_turn(queue, skey, front == true) end
end

-- A job that others wait for is to be found apart from those that nobody does: the deepest first.
local function list_call(queue, id, depth, front)
  local arrival = 0
  if not front then arrival = redis.call('HINCRBY', meta_key(queue), 'arrivals', 1) % 4294967296 end
  local deep = math.min(number(depth, 1), 1000000)
  redis.call('ZADD', calls_key(queue), whole(arrival - deep * 4294967296), id)
  no_call[queue] = nil
end

-- Makes a waiting job claimable. `depth` is nil or false for one that nobody waits for.
local function put(queue, id, priority, front, skey, gen, depth)
  line_up(queue, id, priority, front, skey, gen)
  if depth then list_call(queue, id, depth, front) end
  wake(queue)
end

-- If the job is the next one due, some node has to learn when to come back.
local function put_later(queue, id, due)
  redis.call('ZADD', later_key(queue), whole(due), id)
  redis.call('HSET', job_key(id), 'due', whole(due))
  if redis.call('ZRANGE', later_key(queue), 0, 0)[1] == id then wake(queue, 'any') end
end

local function promote(queue, now)
  local due = redis.call('ZRANGEBYSCORE', later_key(queue), '-inf', whole(now), 'LIMIT', 0, BATCH)
  for _, id in ipairs(due) do
    redis.call('ZREM', later_key(queue), id)
    local job = redis.call('HMGET', job_key(id), 'status', 'priority', 'skey', 'gen', 'depth')
    if job[1] == 'later' then
      redis.call('HSET', job_key(id), 'status', 'waiting')
      count(queue, 'later', -1)
      count(queue, 'waiting', 1)
    end
    -- A record that says something else is judged by the claim that meets it.
    if job[1] ~= 'active' and not ENDED[job[1]] then put(queue, id, urgency(job[2]), false, job[3], job[4], job[5]) end
  end
end

local function has_work(queue)
  return redis.call('EXISTS', wait_key(queue), ready_key(queue), prio_key(queue)) > 0
end

local function next_due(queue, now)
  local first = redis.call('ZRANGE', later_key(queue), 0, 0, 'WITHSCORES')
  if #first == 0 then return -1 end
  return math.min(math.max(0, tonumber(first[2]) - now), MOST)
end
