-- A job waits for a time, or for a signal: begin to, or hear what has become of it.
--
-- KEYS     anchor
-- ARGV     clock, id, token, key of the wait, name of the signals or '', ms until it is over or -1
-- RETURNS  {'open', ms until it is over or -1} | {'slept'} | {'signalled', value} | {'timed_out'}
--          | {'other', what it waited for} the key is that of another wait | {'full'} too many waits
--          | {'fenced'} the token is not the current one
-- INVARIANT  only the newest token waits. What became of a wait is written down before anybody hears of it, and is the
--          same for ever; a signal is taken in that step, by one wait.

local clock, id, token, key, name, ms = unpack(ARGV)
local now = read_clock(clock)
local job = load(id)
if not job or token == '' or job.token ~= token then return { 'fenced' } end
local box = waits_key(id)
local over = unpacked(redis.call('HGET', box, '=' .. key))
if over then
  if over[2] ~= name then return { 'other', over[2] or '' } end
  return { over[1], over[3] or '' }
end
local open = open_waits(id)
local wait = open[key]
if wait and wait[1] ~= name then return { 'other', wait[1] } end
if not wait then
  local begun = number(redis.call('HGET', box, 'begun') or 0, 0)
  if begun >= MOST_WAITS then return { 'full' } end
  ms = tonumber(ms)
  wait = { name, now, ms < 0 and -1 or now + ms }
  open[key] = wait
  note(id, 'waits', '1')
  redis.call('HSET', box, 'begun', whole(begun + 1), 'open', cmsgpack.pack(open))
  if job.skey and name ~= '' then stand_for_signal(job, name) end
end
local value, found_in = signal_for(job, name)
local outcome = value and 'signalled' or wait[3] >= 0 and now >= wait[3] and (name == '' and 'slept' or 'timed_out')
if not outcome then return { 'open', wait[3] < 0 and -1 or wait[3] - now } end
open[key] = nil
redis.call('HSET', box, '=' .. key, cmsgpack.pack({ outcome, name, value or '' }), 'open', cmsgpack.pack(open))
if value then drop_signal(found_in, name) end
if not waits_for(open, name) then leave_awaiting(job, name) end
-- A job that gets on is lost with its worker as often as before.
redis.call('HDEL', job.key, 'stalls', 'charged')
finish()
return { outcome, value or '' }
