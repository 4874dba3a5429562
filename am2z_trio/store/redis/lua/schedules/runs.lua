-- What became of a schedule's times, the newest ones first.
--
-- KEYS     anchor
-- ARGV     name, offset, limit
-- RETURNS  texts as `fire` writes them
-- INVARIANT  reads only.

local name, offset, limit = unpack(ARGV)
return redis.call('ZREVRANGE', runs_key(name), offset, offset + limit - 1)
