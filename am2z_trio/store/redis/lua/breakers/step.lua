-- One step of a circuit breaker, shared by all nodes: may I call, it succeeded, it failed.
--
-- KEYS     anchor
-- ARGV     clock, processor name, step (enter, succeed or fail), id of the step, failures, recovery ms, half-open
-- RETURNS  {1 if allowed, state, ms to wait}
-- INVARIANT  the same as policy/breaker.py; the same step again changes nothing more.

local clock, processor, step, id, most, recovery, half_open = unpack(ARGV)
local now, key = read_clock(clock), breaker_key(processor)
most, recovery, half_open = tonumber(most), tonumber(recovery), tonumber(half_open)
local v = redis.call('HMGET', key, 'state', 'failures', 'until', 'probes', 'step', 'allowed')
local state, failures = v[1] or 'closed', number(v[2] or 0, 0)
local till, probes, allowed = number(v[3] or 0, 0), number(v[4] or 0, 0), 1
if state ~= 'open' and state ~= 'half-open' then state = 'closed' end

if v[5] == id then
  allowed = number(v[6], 1)
elseif step == 'enter' then
  if state == 'closed' then return { 1, 'closed', 0 } end
  if now >= till then state, probes, till = 'half-open', 0, now + recovery end
  if state == 'half-open' and probes < half_open then
    probes = probes + 1
  else
    return { 0, state, till - now }
  end
elseif step == 'succeed' then
  if state == 'closed' and failures == 0 then return { 1, 'closed', 0 } end
  if state ~= 'open' then state, failures = 'closed', 0 end
else
  if state == 'closed' then failures = failures + 1 end
  if state == 'half-open' or (state == 'closed' and failures >= most) then
    state, failures, till = 'open', 0, now + recovery
  end
  allowed = state == 'closed' and 1 or 0
end
redis.call('HSET', key, 'state', state, 'failures', failures, 'until', whole(till), 'probes', probes, 'step', id,
  'allowed', allowed)
redis.call('PEXPIRE', key, recovery + 86400000)
return { allowed, state, 0 }
