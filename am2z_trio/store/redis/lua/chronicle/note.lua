-- Write down what an operator does, or was refused: neither takes the other's room.
--
-- KEYS     anchor
-- ARGV     clock, id of the entry, 1 if it says that something was refused, entry
-- RETURNS  1, or 0 if it has been written
-- INVARIANT  once, however often it comes, and known to be written only where it is. Its number is higher than that
--            of any entry of either stream. The first write is one that Redis refuses when memory is full.

local clock, id, refused, entry = unpack(ARGV)
local now = read_clock(clock)
if redis.call('EXISTS', noted_key(id)) == 1 then return 0 end
local stream, other, kept, known = audit_key(), refused_key(), AUDIT_KEPT, NOTED_FOR_MS
if refused == '1' then stream, other, kept, known = other, stream, REFUSALS_KEPT, REFUSAL_NOTED_FOR_MS end

local function last_of(stream_key)
  local found = redis.call('XREVRANGE', stream_key, '+', '-', 'COUNT', 1)[1]
  local ms, nth = string.match(found and found[1] or '', '^(%d+)-(%d+)$')
  return number(ms or -1, -1), number(nth or -1, -1)
end

-- The server's own number is higher than those of this stream; within a millisecond the other may be ahead of it.
local time, place = server.call('TIME'), '*'
local ms, nth = last_of(stream)
local other_ms, other_nth = last_of(other)
if other_ms >= tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  and (other_ms > ms or other_ms == ms and other_nth > nth) then
  place = whole(other_ms) .. '-' .. whole(other_nth + 1)
end
redis.call('XADD', stream, 'MAXLEN', kept, place, 'at', whole(now), 'entry', entry)
redis.call('SET', noted_key(id), '', 'PX', known)
return 1
