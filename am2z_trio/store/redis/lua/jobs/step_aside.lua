-- A job waits for others: the limits of its queue do not count it any more.
--
-- KEYS     anchor
-- ARGV     clock, id, token
-- RETURNS  nothing
-- INVARIANT  only the newest token steps aside, and once. One that is in line to step back leaves the line.

local job = load(ARGV[2])
if not job or job.token == '' or job.token ~= ARGV[3] then return end
if job.away then
  redis.call('ZREM', back_key(job.queue), job.id)
  return
end
note(job.id, 'away', '1')
count(job.queue, 'away', 1)
if job.skey then leave_session(job.queue, job.skey) end
finish()
