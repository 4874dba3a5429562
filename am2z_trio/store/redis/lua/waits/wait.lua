-- A job waits for a time, or for a signal: begin to, or hear what has become of it.
--
-- KEYS     anchor
-- ARGV     clock, id, token, key of the wait, name of the signals or '', ms until it is over or -1
-- RETURNS  {'open', ms until it is over or -1, 1 if the job has many: they are to be packed before it is parked}
--          | {'slept'} | {'signalled', value} | {'timed_out'}
--          | {'other', what it waited for} the key is that of another wait
--          | {'full'} too many waits | {'fenced'} the token is not the current one
-- INVARIANT  only the newest token waits. What became of a wait is written down before anybody hears of it, and is the
--          same for ever; a signal is taken in that step, by one wait.

local clock, id, token, key, name, ms = unpack(ARGV)
local now = read_clock(clock)
local job = load(id)
if not job or token == '' or job.token ~= token then return { 'fenced' } end
local box = waits_key(id)
local v = redis.call('HMGET', box, '=' .. key, '?' .. key, 'many')
local over = unpacked(v[1])
if over then
  if over[2] ~= name then return { 'other', over[2] or '' } end
  return { over[1], over[3] or '' }
end
local many, open, wait = v[3] and redis.call('HEXISTS', box, 'open') == 0, nil, unpacked(v[2])
if not many then
  local keys
  open, keys = all_waits(id)
  wait, many = open[key], v[3] or #keys > FEW_WAITS
  if many then spread_waits(box, open) end
elseif not is_wait(wait) then
  wait = nil
end
if wait and wait[1] ~= name then return { 'other', wait[1] } end
if not wait then
  local begun = number(redis.call('HGET', box, 'begun') or 0, 0)
  if begun >= MOST_WAITS then return { 'full' } end
  ms = tonumber(ms)
  wait = { name, now, ms < 0 and -1 or now + ms }
  note(id, 'waits', '1')
  redis.call('HSET', box, 'begun', whole(begun + 1))
  if many then
    redis.call('HSET', box, '?' .. key, cmsgpack.pack(wait))
    redis.call('HINCRBY', box, '#' .. name, 1)
  else
    open[key] = wait
    redis.call('HSET', box, 'open', cmsgpack.pack(open))
  end
  if job.skey and name ~= '' then stand_for_signal(job, name) end
end
local value, found_in = signal_for(job, name)
local outcome = value and 'signalled' or wait[3] >= 0 and now >= wait[3] and (name == '' and 'slept' or 'timed_out')
if not outcome then return { 'open', wait[3] < 0 and -1 or wait[3] - now, many and 1 or 0 } end
local is_last
if many then
  redis.call('HDEL', box, '?' .. key)
  is_last = redis.call('HINCRBY', box, '#' .. name, -1) <= 0
  if is_last then redis.call('HDEL', box, '#' .. name) end
else
  open[key] = nil
  is_last = not waits_for(open, name)
  redis.call('HSET', box, 'open', cmsgpack.pack(open))
end
redis.call('HSET', box, '=' .. key, cmsgpack.pack({ outcome, name, value or '' }))
if value then drop_signal(found_in, name) end
if is_last then leave_awaiting(job, name) end
-- A job that gets on is lost with its worker as often as before.
redis.call('HDEL', job.key, 'stalls', 'charged')
finish()
return { outcome, value or '' }
