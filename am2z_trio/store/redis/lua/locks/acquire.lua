-- Take a session's lock, or a place in line for it.
--
-- KEYS     anchor
-- ARGV     clock, session name, token, node, lease ms
-- RETURNS  {fencing number} granted | {0, ms until the holder's lease ends}
-- INVARIANT  at most one token holds the lock while its lease runs; the fencing number grows with every
--          grant. The same token again keeps its lock or its place in line.

local clock, name, token, node, lease = unpack(ARGV)
local now = read_clock(clock)
local lock = redis.call('HMGET', lock_key(name), 'token', 'fence', 'ends')
local held = lock[1] and number(lock[3], 0) >= now
if held and lock[1] == token then return { number(lock[2], 0) } end
lease = tonumber(lease)
if not held and redis.call('EXISTS', line_key(name)) == 0 then return { give_lock(name, token, lease, now, node) } end

local place = token .. ' ' .. node .. ' ' .. whole(lease)
if not redis.call('ZSCORE', line_key(name), place) then
  local last = redis.call('ZREVRANGE', line_key(name), 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', line_key(name), tonumber(last or 0) + 1, place)
end
if not held then
  local fence = hand_lock_on(name, now, token)
  if fence then return { fence } end
end
local ends = number(redis.call('HGET', lock_key(name), 'ends'), now)
redis.call('PEXPIRE', line_key(name), ends - now + lease + 60000)
return { 0, ends - now }
