-- Give a lock, or a place in line for it, back.
--
-- KEYS     anchor
-- ARGV     clock, session name, token, node, lease ms as it was acquired with
-- RETURNS  1 if the lock was held and its lease had not passed, else 0
-- INVARIANT  only the holder's token frees the lock; the next in line who is there gets it.

local clock, name, token, node, lease = unpack(ARGV)
local now = read_clock(clock)
redis.call('ZREM', line_key(name), token .. ' ' .. node .. ' ' .. lease)
local held = holds_lock(name, token, now)
if redis.call('HGET', lock_key(name), 'token') == token then hand_lock_on(name, now, '') end
return held and 1 or 0
