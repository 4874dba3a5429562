-- A job waits for another one, which nobody had called.
--
-- KEYS     anchor
-- ARGV     id
-- RETURNS  nothing
-- INVARIANT  a job that is waited for is not kept waiting by those that wait.

local id = unpack(ARGV)
local job = load(id)
if job then call_for(job, 1) end
finish()
