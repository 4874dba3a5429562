-- Jobs that take turns to work on one session's state. Follows the retention.

-- Jobs that take turns. One that comes to a turn which another one has stands in line for it, apart from its
-- queue; the first in line of every queue goes back to its queue when the turn is free: none is to wait for a
-- queue that is not served. One that comes to the line again keeps its place.
local function is_taken(turn, id)
  local holder = redis.call('HGET', floor_key(turn), 'holder')
  return holder and holder ~= id and redis.call('HGET', job_key(holder), 'status') == 'active'
end

local function stand_in_line(job)
  local place = redis.call('HGET', job.key, 'place')
  if not place then
    place = redis.call('HINCRBY', meta_key(job.queue), 'arrivals', 1)
    redis.call('HSET', job.key, 'place', place)
  end
  redis.call('ZADD', turns_key(job.queue .. '@' .. job.turn), place, job.id)
  redis.call('HSET', floor_key(job.turn), 'q:' .. job.queue, '1')
  if job.depth then redis.call('ZREM', calls_key(job.queue), job.id) end
end

local function call_up(turn, queue)
  local line = turns_key(queue .. '@' .. turn)
  local id = redis.call('ZPOPMIN', line)[1]
  if redis.call('EXISTS', line) == 0 then redis.call('HDEL', floor_key(turn), 'q:' .. queue) end
  if not id then return end
  local v = redis.call('HMGET', job_key(id), 'priority', 'skey', 'gen', 'depth')
  put(queue, id, urgency(v[1]), true, v[2] or nil, v[3], v[4])
end

-- Returns whether the job stood there.
local function step_out_of_line(job)
  local line = turns_key(job.queue .. '@' .. job.turn)
  if redis.call('ZREM', line, job.id) == 0 then return false end
  if redis.call('EXISTS', line) == 0 then redis.call('HDEL', floor_key(job.turn), 'q:' .. job.queue) end
  return true
end

-- A job has ended before it had its turn. If it was about to take it, the next one is.
local function leave_line(job)
  job.stood_in_line = step_out_of_line(job)
  if not job.stood_in_line then call_up(job.turn, job.queue) end
end

local function pass_turn(job)
  local key = floor_key(job.turn)
  if redis.call('HGET', key, 'holder') ~= job.id then return end
  redis.call('HDEL', key, 'holder')
  local queues = redis.call('HKEYS', key)
  table.sort(queues)
  for _, field in ipairs(queues) do call_up(job.turn, string.sub(field, 3)) end
end
