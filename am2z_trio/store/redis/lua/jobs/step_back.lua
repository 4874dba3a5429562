-- A job that had stepped aside goes on, or is in line for the next room.
--
-- KEYS     anchor
-- ARGV     id, token
-- RETURNS  1 if it counts as active again, or does anyway | 0 if it is in line
-- INVARIANT  who has stepped aside goes on before any job that waits, first come, first served; no more count as
--          active than may be.

local id, token = unpack(ARGV)
local job = load(id)
if not job or job.token == '' or job.token ~= token or not job.away then return 1 end
local line = back_key(job.queue)
if not redis.call('ZSCORE', line, job.id) then
  local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', line, whole((number(last or 0, 0)) + 1), job.id)
end
let_back(job.queue, job.id)
finish()
return redis.call('HEXISTS', job_key(job.id), 'away') == 1 and 0 or 1
