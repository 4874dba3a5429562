-- Send a signal to a job.
--
-- KEYS     anchor
-- ARGV     id, which call this is, name, value
-- RETURNS  'kept' | 'full' too many are there that nobody has taken | 'ended' | 'gone' there is no such job
-- INVARIANT  it is in the job's mailbox once, however often this call is sent; a job that waits for it goes on in the
--          step that puts it there, and none that parks misses it.

local id, op, name, value = unpack(ARGV)
local job = load(id)
if not job then return 'gone' end
if is_known(job.key, op) then return 'kept' end
if ENDED[job.status] then return 'ended' end
if not keep_signal(waits_key(id), job.key, op, name, value) then return 'full' end
note(id, 'waits', '1')
if has_wait_for(id, name) then bring(job, name) end
finish()
return 'kept'
