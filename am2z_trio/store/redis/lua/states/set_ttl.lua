-- Give a session a TTL of its own, counted from its last write.
--
-- KEYS     anchor
-- ARGV     clock, session name, ttl ms (0: never)
-- RETURNS  1
-- INVARIANT  the state itself is not touched; an expired one does not come back.

local clock, name, ttl = unpack(ARGV)
local now = read_clock(clock)
local state, key = load_state(name, now), session_key(name)
redis.call('HSET', key, 'ttl', ttl)
keep_unwritten(key)
if state.sha ~= '' then
  if tonumber(ttl) > 0 then
    redis.call('HSET', key, 'expires', whole(tonumber(state.updated) + ttl))
    redis.call('ZADD', expiries_key(), whole(tonumber(state.updated) + ttl), name)
  else
    redis.call('HDEL', key, 'expires')
    redis.call('ZREM', expiries_key(), name)
  end
end
return 1
