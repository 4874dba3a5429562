-- A session's state and lock: as they are now, and their next version. Follows the clock.

-- A record without a state keeps its version and its writers' receipts for a week: far longer than a
-- claim lives or a write is resent.
local TOMBSTONE_MS = 604800000

-- A record that is there for its marks alone goes by itself, too; the first write makes it last.
local function keep_unwritten(key)
  if redis.call('HEXISTS', key, 'version') == 1 then return end
  redis.call('HSET', key, 'gone', 'unwritten')
  redis.call('PEXPIRE', key, TOMBSTONE_MS)
end

-- sha is '' where there is no state: never written, deleted or expired.
local function load_state(name, now)
  local v = redis.call('HMGET', session_key(name), 'version', 'sha', 'created', 'updated', 'ttl', 'expires', 'gone')
  local state = { name = name, version = number(v[1] or 0, 0), sha = v[2] or '', created = number(v[3]) and v[3],
    updated = number(v[4]) and v[4] or '0', ttl = number(v[5]), expires = v[6], gone = v[7] }
  -- One without a number is no version that anybody has seen: only who overwrites or deletes it gets past that.
  if v[1] and not number(v[1]) then state.sha = 'spoilt' end
  if v[6] and number(v[6], now + 1) <= now then state.sha, state.created, state.expired = '', nil, true end
  return state
end

-- {} never written | {version, updated} no state | {version, updated, sha, blob, created, by}
local function state_row(name, now)
  local v = redis.call('HMGET', session_key(name), 'version', 'updated', 'sha', 'blob', 'created', 'expires', 'gone',
    'by')
  if not v[1] then return {} end
  if v[7] or (v[6] and number(v[6], now + 1) <= now) then return { v[1], v[2] or '0' } end
  return { v[1], v[2] or '0', v[3] or '', v[4] or '', v[5] or '0', v[8] or '' }
end

-- Takes the state away and leaves its version. The removals come first: they are allowed when memory is full.
local function bury_state(name, version, updated, why)
  local key = session_key(name)
  redis.call('HDEL', key, 'sha', 'blob', 'created', 'expires', 'by')
  redis.call('ZREM', expiries_key(), name)
  redis.call('DEL', history_key(name))
  redis.call('HSET', key, 'version', whole(version), 'gone', why, 'updated', updated)
  redis.call('PEXPIRE', key, TOMBSTONE_MS)
end

-- The next version, which is yet to be kept. `by`: a node, the token and the id of its job or '' and '', a line each.
local function advance(state, now, sha, blob, history, by)
  state.version, state.sha, state.blob, state.updated, state.by = state.version + 1, sha, blob, whole(now), by
  if not state.created then state.created, state.is_new = state.updated, true end
  if tonumber(history) > 0 then
    state.entries = state.entries or {}
    state.entries[#state.entries + 1] = whole(state.version) .. ' ' .. sha .. ' ' .. state.created .. ' '
      .. state.updated .. ' ' .. #by .. ' ' .. by .. blob
  end
end

-- Writes what it has come to.
local function keep_state(state, now, default_ttl, history)
  local key, name = session_key(state.name), state.name
  local fields = { 'version', whole(state.version), 'sha', state.sha, 'blob', state.blob, 'updated', state.updated,
    'by', state.by }
  if state.is_new then
    fields[11], fields[12] = 'created', state.created
  end
  if state.expired then redis.call('DEL', history_key(name)) end
  local ttl = tonumber(state.ttl or default_ttl)
  if ttl > 0 then
    fields[#fields + 1] = 'expires'
    fields[#fields + 1] = whole(now + ttl)
  end
  redis.call('HSET', key, unpack(fields))
  if ttl > 0 then
    redis.call('ZADD', expiries_key(), whole(now + ttl), name)
  elseif state.expires then
    redis.call('HDEL', key, 'expires')
    redis.call('ZREM', expiries_key(), name)
  end
  if state.gone then
    redis.call('HDEL', key, 'gone')
    redis.call('PERSIST', key)
  end
  if state.entries then
    redis.call('LPUSH', history_key(name), unpack(state.entries))
    redis.call('LTRIM', history_key(name), 0, tonumber(history) - 1)
  end
end

local function write_state(state, now, sha, blob, default_ttl, history, by)
  advance(state, now, sha, blob, history, by)
  keep_state(state, now, default_ttl, history)
end

-- Whether this token holds the lock and its lease has not passed.
local function holds_lock(name, token, now)
  local lock = redis.call('HMGET', lock_key(name), 'token', 'ends')
  return lock[1] == token and number(lock[2], 0) >= now
end

-- A number above all that were given out, also by a server that has lost the end of its history since: it is not
-- below the server's own clock in microseconds, and no server counts as fast as that.
local function new_fence()
  local fence, floor = redis.call('INCR', fence_key()), server_clock(ARGV[1]) * 1000
  if fence >= floor then return fence end
  redis.call('SET', fence_key(), whole(floor))
  return floor
end

-- Both keys of a lock outlive its lease a little and then go by themselves: nothing but waiting hangs on them.
local function give_lock(name, token, lease, now, node)
  local fence = new_fence()
  redis.call('HSET', lock_key(name), 'token', token, 'fence', whole(fence), 'ends', whole(now + lease),
    'node', node, 'since', whole(now))
  redis.call('PEXPIRE', lock_key(name), lease + 60000)
  return fence
end

-- Gives the lock to the first in line who is there, `asking` (a token) included; nobody: it is free. Behind very
-- many who have gone it is free, too, with the line as it stands: who asks next goes on looking.
-- Returns the fencing number if it was `asking`.
local GONE_AT_ONCE = 500
local function hand_lock_on(name, now, asking)
  for _ = 1, GONE_AT_ONCE do
    local first = redis.call('ZPOPMIN', line_key(name))[1]
    if not first then
      redis.call('DEL', lock_key(name))
      return nil
    end
    local token, node, lease = string.match(first, '^(%S+) (%S+) (%d+)$')
    if token and token == asking then return give_lock(name, token, tonumber(lease), now, node) end
    if token and redis.call('PUBSUB', 'NUMSUB', inbox_key(node))[2] > 0 then
      local fence = give_lock(name, token, tonumber(lease), now, node)
      redis.call('PUBLISH', inbox_key(node), '\145\147' .. cmsgpack.pack('granted', token, fence))
      return nil
    end
  end
  redis.call('DEL', lock_key(name))
end
