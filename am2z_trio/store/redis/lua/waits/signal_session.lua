-- Send a signal to a session: one of its jobs takes it.
--
-- KEYS     anchor
-- ARGV     clock, session name, which call this is, name, value
-- RETURNS  'kept' | 'full' too many are there that nobody has taken | 'stopped' the session is being stopped
-- INVARIANT  as in `signal`. The job that has waited longest takes it; without one it is kept for a week.

local clock, skey, op, name, value = unpack(ARGV)
local now, box = read_clock(clock), mail_key(skey)
if is_known(box, op) then return 'kept' end
if is_stopping(skey, now) then return 'stopped' end
if not keep_signal(box, box, op, name, value) then return 'full' end
redis.call('PEXPIRE', box, SIGNALS_TTL_MS)
offer(skey, name)
finish()
return 'kept'
