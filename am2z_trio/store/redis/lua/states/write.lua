-- Write a session's next state, or delete it, if it is still the expected one.
--
-- KEYS     anchor
-- ARGV     clock, node, session name, seq, expected version ('': any), expected sha, new sha, new blob
--          ('': delete), ttl ms ('': as it is; 0: never), default ttl ms, history, lock token ('': none)
-- RETURNS  {'applied', version, created, updated} | {'conflict', row of read_state} | {'fenced'} | {'stale'}
-- INVARIANT  the same seq of a node changes the state at most once, however often and late it arrives: a
--          receipt of the node's last write is kept for a week. Every check precedes the first write,
--          which Redis refuses when memory is full, unless it is a removal.

local clock, node, name, seq, version, sha, new_sha, blob, ttl, default_ttl, history, token = unpack(ARGV)
local now = read_clock(clock)
seq = tonumber(seq)
local key, receipts = session_key(name), receipts_key(name)

local receipt = redis.call('HGET', receipts, node)
if receipt then
  receipt = unpacked(receipt)
  if not receipt or type(receipt[1]) ~= 'number' or not receipt[4] then receipt = { -1 } end
  if seq < receipt[1] then return { 'stale' } end
  if seq == receipt[1] then return { 'applied', receipt[2], receipt[3], receipt[4] } end
end
if token ~= '' and not holds_lock(name, token, now) then return { 'fenced' } end
local state = load_state(name, now)
if version ~= '' and (whole(state.version) ~= version or state.sha ~= sha) then
  return { 'conflict', state_row(name, now) }
end

local function forget_old_receipts()
  if redis.call('HLEN', receipts) < RECEIPTS then return end
  local some = redis.call('HRANDFIELD', receipts, RECEIPTS_SEEN, 'WITHVALUES')
  for i = 1, #some, 2 do
    local at = number((unpacked(some[i + 1]) or {})[4], 0)
    if at < now - RECEIPT_TTL_MS then redis.call('HDEL', receipts, some[i]) end
  end
end

if blob == '' then
  if state.sha == '' then return { 'applied', whole(state.version), '0', state.updated } end
  state.version, state.created, state.updated = state.version + 1, '0', whole(now)
  bury_state(name, state.version, state.updated, 'deleted')
else
  if ttl ~= '' then state.ttl = ttl end
  write_state(state, now, new_sha, blob, default_ttl, history, node .. '\n\n')
  if ttl ~= '' then redis.call('HSET', key, 'ttl', ttl) end
end
if not receipt then forget_old_receipts() end
redis.call('HSET', receipts, node, cmsgpack.pack({ seq, whole(state.version), state.created, state.updated }))
redis.call('PEXPIRE', receipts, TOMBSTONE_MS)
return { 'applied', whole(state.version), state.created, state.updated }
