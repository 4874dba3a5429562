-- Pause a schedule, let it go on, or give it another next time.
--
-- KEYS     anchor
-- ARGV     name, mark, revision, next time it has, '' to let it be as it is, '=' and why to pause it, or '-' to let it
--          go on; next time, or '', when it is due, version of the time zones
-- RETURNS  1, or 0 if it is not what it was
-- INVARIANT  what is paused is never due.

local name, mark, rev, expected, pause, next, due, tz = unpack(ARGV)
local key = schedule_key(name)
local v = redis.call('HMGET', key, 'mark', 'rev', 'next', 'paused', 'last')
if not is_meant(key, v[1], v[2], mark, rev) or next_time(v[3]) ~= expected then return 0 end
local paused = v[4]
if pause ~= '' then redis.call('HDEL', key, 'paused', 'held') end
if string.sub(pause, 1, 1) == '=' then
  paused = true
  redis.call('HSET', key, 'paused', string.sub(pause, 2))
elseif pause == '-' then
  paused = false
  if v[5] then redis.call('HSET', key, 'forgiven', v[5]) end
end
redis.call('HSET', key, 'next', next, 'tz', tz)
redis.call('ZADD', schedules_key(), paused and 'inf' or in_order(due), name)
return 1
