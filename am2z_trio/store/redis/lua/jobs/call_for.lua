-- A job waits for another one, which nobody had called.
--
-- KEYS     anchor
-- ARGV     clock, id
-- RETURNS  nothing
-- INVARIANT  a job that is waited for is not kept waiting by those that wait.

local job = load(ARGV[2])
if job then call_for(job, 1) end
finish()
