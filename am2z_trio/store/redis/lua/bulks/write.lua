-- Write down how far an action on many jobs has come.
--
-- KEYS     anchor
-- ARGV     clock, id, which of its records this is (the first is 1), the record
-- RETURNS  1 | 0: another one is written, or the one before is not
-- INVARIANT  records are written in their order, and one of each number: of two that carry an action on, one is
--          told that the other has. Written again, the same record changes nothing.

local clock, id, nth, record = unpack(ARGV)
local now = read_clock(clock)
local known = redis.call('HMGET', bulk_key(id), 'nth', 'record')
if known[1] == nth then return known[2] == record and 1 or 0 end
if whole(number(known[1] or 0, 0) + 1) ~= nth then return 0 end
redis.call('HSET', bulk_key(id), 'nth', nth, 'record', record)
redis.call('PEXPIRE', bulk_key(id), BULK_TTL_MS)
redis.call('ZADD', bulks_key(), 'NX', whole(now), id)
redis.call('PEXPIRE', bulks_key(), BULK_TTL_MS)
local over = math.min(redis.call('ZCARD', bulks_key()) - BULKS_KEPT, TRIMMED)
if over > 0 then
  local oldest = redis.call('ZPOPMIN', bulks_key(), over)
  for i = 1, #oldest, 2 do redis.call('DEL', bulk_key(oldest[i])) end
end
return 1
