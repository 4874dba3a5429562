-- A part of what a job has called.
--
-- KEYS     anchor
-- ARGV     id, cursor, batch
-- RETURNS  {next cursor, id, ...}
-- INVARIANT  writes nothing. First comes what it has called since it was begun for the last time.

local id, cursor, batch = unpack(ARGV)
if redis.call('EXISTS', job_key(id)) == 0 then return { '0' } end
local ended = string.match(cursor, '^e(%d+)$')
local page = redis.call('SSCAN', ended and called_key(id) or children_key(id), ended or cursor, 'COUNT', batch)
local answer = { page[1] }
if ended and page[1] ~= '0' or not ended and page[1] == '0' then answer[1] = 'e' .. page[1] end
for _, child in ipairs(page[2]) do answer[#answer + 1] = child end
return answer
