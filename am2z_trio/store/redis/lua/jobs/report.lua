-- Record progress.
--
-- KEYS     anchor
-- ARGV     clock, id, token, progress
-- RETURNS  1, or 0 if the token is not the current one
-- INVARIANT  only the newest token writes.

local clock, id, token, progress = unpack(ARGV)
local now = read_clock(clock)
local job = load(id)
if not job or job.token == '' or job.token ~= token then return 0 end
-- The removal comes first: it is allowed when memory is full.
redis.call('HDEL', job_key(job.id), 'progress')
redis.call('HSET', job_key(job.id), 'progress', progress)
tell('job:progress', now, job.node, job.id, { progress = tonumber(progress) })
finish()
return 1
