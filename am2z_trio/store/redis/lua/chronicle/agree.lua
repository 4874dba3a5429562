-- Say how many entries the history of events is to have, or ask.
--
-- KEYS     anchor
-- ARGV     so many, 0 for none, or '' to ask
-- RETURNS  how many it is to have
-- INVARIANT  whoever says so last is right.

local said = unpack(ARGV)
if said ~= '' then redis.call('SET', kept_key(), said) end
return number(redis.call('GET', kept_key()) or 0, 0)
