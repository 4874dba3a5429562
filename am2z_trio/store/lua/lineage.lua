-- Name this server's history: another one once it was emptied.
--
-- KEYS     anchor
-- ARGV     the name of a new one
-- RETURNS  the name
-- INVARIANT  a history keeps its first name.

redis.call('SET', lineage_key(), ARGV[1], 'NX')
return redis.call('GET', lineage_key())
