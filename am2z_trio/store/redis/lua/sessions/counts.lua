-- Count a part of a session's jobs that have not ended, by status.
--
-- KEYS     anchor
-- ARGV     session name, cursor, batch
-- RETURNS  {next cursor, waiting, active, later}
-- INVARIANT  writes nothing. Jobs that come or go between two pages may be counted or not.

local name, cursor, batch = unpack(ARGV)
local page = redis.call('SSCAN', jobs_key(name), cursor, 'COUNT', batch)
local found = { waiting = 0, active = 0, later = 0 }
for _, id in ipairs(page[2]) do
  local status = redis.call('HGET', job_key(id), 'status')
  if found[status] then found[status] = found[status] + 1 end
end
return { page[1], found.waiting, found.active, found.later }
