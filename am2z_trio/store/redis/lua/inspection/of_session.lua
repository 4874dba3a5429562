-- A part of a session's jobs that have not ended.
--
-- KEYS     anchor
-- ARGV     session name, cursor, batch
-- RETURNS  {next cursor, id, ...}
-- INVARIANT  writes nothing. Jobs that come or go between two pages may be told or not.

local name, cursor, batch = unpack(ARGV)
local page = redis.call('SSCAN', jobs_key(name), cursor, 'COUNT', batch)
local answer = { page[1] }
for _, id in ipairs(page[2]) do answer[#answer + 1] = id end
return answer
