-- A job waits for others: the limits of its queue do not count it any more.
--
-- KEYS     anchor
-- ARGV     id, token
-- RETURNS  nothing
-- INVARIANT  only the newest token steps aside, and once. One that is in line to step back leaves the line.

local id, token = unpack(ARGV)
local job = load(id)
if not job or job.token == '' or job.token ~= token then return end
if job.away then
  redis.call('ZREM', back_key(job.queue), job.id)
  return
end
note(job.id, 'away', '1')
count(job.queue, 'away', 1)
if job.skey then leave_session(job.queue, job.skey) end
finish()
