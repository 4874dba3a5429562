-- Name this server's history: another one once it was emptied.
--
-- KEYS     anchor
-- ARGV     the name of a new one
-- RETURNS  the name
-- INVARIANT  a history keeps its first name; where it has one, nothing is written.

local new_name = unpack(ARGV)
local name = redis.call('GET', lineage_key())
if name then return name end
redis.call('SET', lineage_key(), new_name)
return new_name
