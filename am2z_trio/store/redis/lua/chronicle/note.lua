-- Write down what an operator does, or was refused: neither takes the other's room.
--
-- KEYS     anchor
-- ARGV     clock, id of the entry, 1 if it says that something was refused, entry
-- RETURNS  1, or 0 if it has been written
-- INVARIANT  once, however often it comes, and known to be written only where it is. The first write is
--            one that Redis refuses when memory is full.

local clock, id, refused, entry = unpack(ARGV)
local now = read_clock(clock)
if redis.call('EXISTS', noted_key(id)) == 1 then return 0 end
local stream, kept = audit_key(), AUDIT_KEPT
if refused == '1' then stream, kept = refused_key(), REFUSALS_KEPT end
redis.call('XADD', stream, 'MAXLEN', kept, '*', 'at', whole(now), 'entry', entry)
redis.call('SET', noted_key(id), '', 'PX', NOTED_FOR_MS)
return 1
