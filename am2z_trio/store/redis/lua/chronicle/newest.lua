-- Where the history of events ends.
--
-- KEYS     anchor
-- RETURNS  its newest entry, or ''
-- INVARIANT  reads only.

local last = redis.call('XREVRANGE', log_key(), '+', '-', 'COUNT', 1)[1]
return last and last[1] or ''
