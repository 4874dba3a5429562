-- Remove a schedule, with what it has noted. Jobs that it has made are left alone.
--
-- KEYS     anchor
-- ARGV     name, owner it has to have, '*' for any
-- RETURNS  1, or 0 if there is none
-- INVARIANT  nothing of it is left.

local name, owner = unpack(ARGV)
local key = schedule_key(name)
if owner ~= '*' and redis.call('HGET', key, 'owner') ~= owner then return 0 end
redis.call('ZREM', schedules_key(), name)
redis.call('UNLINK', runs_key(name))
return redis.call('DEL', key)
