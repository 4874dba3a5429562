-- Which actions on many jobs there are.
--
-- KEYS     anchor
-- ARGV     how many at most
-- RETURNS  ids, the newest first
-- INVARIANT  reads only.

local most = unpack(ARGV)
return redis.call('ZREVRANGE', bulks_key(), 0, most - 1)
