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
-- What is said already is said again by nobody: this very call may have been sent twice.
if redis.call('HGET', job.key, 'progress') == progress then return 1 end
-- The removal comes first: it is allowed when memory is full.
redis.call('HDEL', job.key, 'progress')
redis.call('HSET', job.key, 'progress', progress)
tell('job:progress', now, job.node, job.queue, job.id, job.skey, { progress = tonumber(progress) })
finish()
return 1
