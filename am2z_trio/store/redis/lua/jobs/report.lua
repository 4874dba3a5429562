-- Record progress.
--
-- KEYS     anchor
-- ARGV     clock, id, token, progress
-- RETURNS  1, or 0 if the token is not the current one
-- INVARIANT  only the newest token writes.

local now = read_clock(ARGV[1])
local job = load(ARGV[2])
if not job or job.token == '' or job.token ~= ARGV[3] then return 0 end
-- The removal comes first: it is allowed when memory is full.
redis.call('HDEL', job_key(job.id), 'progress')
redis.call('HSET', job_key(job.id), 'progress', ARGV[4])
tell('job:progress', now, job.node, job.id, { progress = tonumber(ARGV[4]) })
finish()
return 1
