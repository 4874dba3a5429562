-- Sessions as they are shown in a list.
--
-- KEYS     anchor
-- ARGV     clock, session names
-- RETURNS  per session: {version, bytes of its state or -1 where there is none, created, updated, when it expires or
--          0, 1 if it is being stopped, 1 if its lock is held, jobs that have not ended, how many of these were looked
--          at, of them waiting, active and later, a node that holds any, ...}; of the first ones only, if many jobs
--          were looked at
-- INVARIANT  reads only. Of each session about JOBS_SEEN jobs are looked at.

local clock = unpack(ARGV, 1, 1)
local now, answers, looked_at = read_clock(clock), {}, 0
local JOBS_SEEN, ALL_SEEN = 100, 2000

for i = 2, #ARGV do
  if looked_at >= ALL_SEEN then break end
  local name = ARGV[i]
  local v = redis.call('HMGET', session_key(name), 'version', 'created', 'updated', 'expires', 'gone', 'stopping')
  local is_there = v[1] and not v[5] and (not v[4] or number(v[4], now + 1) > now)
  local size = is_there and redis.call('HSTRLEN', session_key(name), 'blob') or -1
  local locked = number(redis.call('HGET', lock_key(name), 'ends') or now, now) > now and 1 or 0
  local by, nodes, seen = { waiting = 0, active = 0, later = 0 }, {}, {}
  local ids = redis.call('SSCAN', jobs_key(name), '0', 'COUNT', JOBS_SEEN)[2]
  table.sort(ids)
  local most = math.min(#ids, 2 * JOBS_SEEN)
  for n = 1, most do
    local job = redis.call('HMGET', job_key(ids[n]), 'status', 'node')
    if by[job[1]] then by[job[1]] = by[job[1]] + 1 end
    if job[1] == 'active' and job[2] and not seen[job[2]] then
      seen[job[2]], nodes[#nodes + 1] = true, job[2]
    end
  end
  looked_at = looked_at + most
  answers[#answers + 1] = { whole(number(v[1] or 0, 0)), size, is_there and whole(number(v[2] or 0, 0)) or '0',
    whole(number(v[3] or 0, 0)), is_there and whole(number(v[4] or 0, 0)) or '0', number(v[6] or 0, 0) > now and 1 or 0,
    locked, redis.call('SCARD', jobs_key(name)), most, by.waiting, by.active, by.later, unpack(nodes) }
end
return answers
