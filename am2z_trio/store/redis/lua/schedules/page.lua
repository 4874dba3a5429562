-- A page of the names of all schedules, those that are due first in front.
--
-- KEYS     anchor
-- ARGV     offset, limit
-- RETURNS  names
-- INVARIANT  reads only.

local offset, limit = unpack(ARGV)
return redis.call('ZRANGE', schedules_key(), offset, offset + limit - 1)
