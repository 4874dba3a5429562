-- Write down what an operator does.
--
-- KEYS     anchor
-- ARGV     clock, id of the entry, entry
-- RETURNS  1, or 0 if it has been written
-- INVARIANT  once, however often it comes, and known to be written only where it is. The first write is
--            one that Redis refuses when memory is full.

local clock, id, entry = unpack(ARGV)
local now = read_clock(clock)
if redis.call('EXISTS', noted_key(id)) == 1 then return 0 end
redis.call('XADD', audit_key(), 'MAXLEN', AUDIT_KEPT, '*', 'at', whole(now), 'entry', entry)
redis.call('SET', noted_key(id), '', 'PX', NOTED_FOR_MS)
return 1
