-- What a node holds as the record has it, a part of it.
--
-- KEYS     anchor
-- ARGV     node, cursor, batch
-- RETURNS  {next cursor, id, token, ...}
-- INVARIANT  writes nothing. What is granted or settled between two pages may be told or not.

local node, cursor, batch = unpack(ARGV)
local page = redis.call('HSCAN', active_key(node), cursor, 'COUNT', batch)
local answer = { page[1] }
for i = 1, #page[2] do answer[#answer + 1] = page[2][i] end
return answer
