-- Sessions with jobs that have not ended, a part of them.
--
-- KEYS     anchor
-- ARGV     cursor, batch
-- RETURNS  {next cursor, session, ...}
-- INVARIANT  writes nothing. Sessions that come or go between two pages may be told or not.

local cursor, batch = unpack(ARGV)
local page = redis.call('HSCAN', sessions_key(), cursor, 'COUNT', batch)
local answer = { page[1] }
for i = 2, #page[2], 2 do answer[#answer + 1] = page[2][i] end
return answer
