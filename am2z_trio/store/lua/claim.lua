-- Take up to `limit` jobs; fewer than that parks the node on the queue.
--
-- KEYS     anchor
-- ARGV     clock, node, queue, seq, limit, nonce, result ttl ms, flow: starts, per ms, set aside (1 or 0),
--          most active, most active per session (0: not limited)
-- RETURNS  {'lost'} | {'stale'} | {'ok', ms until it is worth another call or -1, grant ...}
--          grant: {spec, token, attempt, deliveries, ms to the deadline or -1, row of read_state or '', id, errors}
-- INVARIANT  a token is granted once: the nonce is the caller's, so a server that was rolled back and
--          repeats counter values does not repeat tokens. The same seq gives the same grants. No window of
--          `per` ms sees more than `starts` grants; no more are active than may be. However long the line of
--          what is not granted, a call looks at a bounded part of it and asks for another call at once.

local now = read_clock(ARGV[1])
local node, queue, seq, limit, nonce, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7]

local LOOKS, LOOKS_OF_AN_END = 500, 5

local flow_starts, flow_per, set_aside = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
local most_active, per_session = tonumber(ARGV[11]), tonumber(ARGV[12])

local function granted(id, token, v)
  local remaining = -1
  if v[5] then remaining = math.max(0, tonumber(v[5]) - now) end
  local session = v[6] and redis.call('HGET', job_key(id), 'skey')
  local state = session and state_row(session, now) or ''
  return { v[2], token, tonumber(v[3] or 1), tonumber(v[4] or 0), remaining, state, id, v[7] or '' }
end

local lease = redis.call('ZSCORE', nodes_key(), node)
if not lease or tonumber(lease) < 0 then return { 'lost' } end
local last = redis.call('HGET', claims_key(node), queue)
if last then
  last = cmsgpack.unpack(last)
  if seq < last[1] then return { 'stale' } end
  if seq == last[1] then
    -- Whether the first answer asked for another call at once is not known any more.
    local answer = { 'ok', #last[4] < limit and has_work(queue) and 0 or next_due(queue, now) }
    for index, id in ipairs(last[4]) do
      local token = whole(last[3] + index - 1) .. ':' .. last[2]
      local v = redis.call('HMGET', job_key(id), 'token', 'spec', 'attempt', 'deliveries', 'deadline', 'stored', 'errors')
      if v[1] == token then answer[#answer + 1] = granted(id, token, v) end
    end
    return answer
  end
end

promote(queue, now)
local found, records = {}, {}

local meta = redis.call('HMGET', meta_key(queue), 'paused', 'held', 'per_session', 'active')
if tonumber(meta[3] or 0) ~= per_session then
  -- With another limit, nobody is blocked at first. The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', meta_key(queue), 'per_session')
  if per_session == 0 then
    redis.call('DEL', running_key(queue))
  else
    redis.call('HSET', meta_key(queue), 'per_session', per_session)
  end
  local blocked = redis.call('SMEMBERS', blocked_key(queue))
  table.sort(blocked)
  for _, skey in ipairs(blocked) do
    if redis.call('EXISTS', wait_key(queue .. '@' .. skey)) == 1 then redis.call('RPUSH', ready_key(queue), skey) end
  end
  redis.call('DEL', blocked_key(queue))
end
-- What this call may still look at beside what it grants: ids that wait no more, sessions that are full.
local looks = LOOKS
local room = meta[1] and 0 or limit
local starts, active_room = limit, limit
if flow_starts > 0 then
  redis.call('ZREMRANGEBYSCORE', starts_key(queue), '-inf', whole(now - flow_per))
  starts = flow_starts - redis.call('ZCARD', starts_key(queue))
end
if most_active > 0 then active_room = most_active - tonumber(meta[4] or 0) end
room = math.min(room, starts, active_room)

-- Jobs without a session and every session with jobs are parties, which are served in turn; jobs with a
-- priority come after all of them. Each party gets its share of the room, and the rest goes round again.
local parties, turn, share = 0, 0, 0
local function next_ids(room)
  if turn >= parties then
    local ready, shared = redis.call('LLEN', ready_key(queue)), redis.call('EXISTS', wait_key(queue))
    parties, turn = ready + shared, 0
    if parties == 0 then
      local first, ids = redis.call('ZPOPMIN', prio_key(queue), room), {}
      for i = 1, #first, 2 do ids[#ids + 1] = first[i] end
      return ids
    end
    share = math.ceil(room / parties)
    if shared == 1 then
      turn = 1
      return redis.call('LPOP', wait_key(queue), math.min(share, room))
    end
  end
  turn = turn + 1
  local skey = redis.call('LPOP', ready_key(queue))
  local most = math.min(share, room)
  if per_session > 0 then
    most = math.min(most, per_session - tonumber(redis.call('HGET', running_key(queue), skey) or 0))
    if most <= 0 then
      redis.call('SADD', blocked_key(queue), skey)
      looks = looks - 1
      return looks > 0 and next_ids(room) or {}
    end
  end
  local list = wait_key(queue .. '@' .. skey)
  local ids = redis.call('LPOP', list, most)
  if redis.call('EXISTS', list) == 1 then redis.call('RPUSH', ready_key(queue), skey) end
  return ids
end

-- Counts the job among the active ones of its session, if there is room for it. If not, one with a
-- priority goes on with its session.
local function enter_session(id)
  local skey = redis.call('HGET', job_key(id), 'skey')
  if not skey then return true end
  if tonumber(redis.call('HGET', running_key(queue), skey) or 0) < per_session then
    redis.call('HINCRBY', running_key(queue), skey, 1)
    return true
  end
  redis.call('RPUSH', wait_key(queue .. '@' .. skey), id)
  redis.call('SADD', blocked_key(queue), skey)
  redis.call('LREM', ready_key(queue), 0, skey)
  return false
end

local expired = {}
while #found < room and looks > 0 do
  local ids = next_ids(room - #found)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    local v = redis.call('HMGET', job_key(id), 'status', 'spec', 'attempt', 'deliveries', 'deadline', 'stored',
      'errors', 'debounce')
    if v[1] ~= 'waiting' then
      looks = looks - 1
    elseif v[5] and now > tonumber(v[5]) then
      expired[#expired + 1] = id
      looks = looks - LOOKS_OF_AN_END
    elseif per_session == 0 or enter_session(id) then
      found[#found + 1] = id
      records[#records + 1] = v
    else
      looks = looks - 1
    end
  end
end
local cut_short = looks <= 0 and has_work(queue)

local answer = { 'ok', 0 }
local first = 1
if #found > 0 then
  first = redis.call('INCRBY', fence_key(), #found) - #found + 1
  local active = {}
  for index, id in ipairs(found) do
    local v, token = records[index], whole(first + index - 1) .. ':' .. nonce
    v[4] = tonumber(v[4] or 0) + 1
    redis.call('HSET', job_key(id), 'status', 'active', 'node', node, 'token', token, 'deliveries', v[4])
    active[#active + 1] = id
    active[#active + 1] = token
    if v[8] then leave_debounce({ id = id, queue = queue }, v[8]) end
    if #active == 1000 then
      -- `unpack` puts its values on Lua's stack, which has room for some 8,000.
      redis.call('HSET', active_key(node), unpack(active))
      active = {}
    end
    answer[#answer + 1] = granted(id, token, v)
    tell('job:started', now, node, id, { attempt = tonumber(v[3] or 1) })
  end
  if #active > 0 then redis.call('HSET', active_key(node), unpack(active)) end
  count(queue, 'waiting', -#found)
  count(queue, 'active', #found)
end
-- What they have called ends with them, and may be among the jobs that were found: so these are active first.
for _, id in ipairs(expired) do
  local job = load(id)
  if job.status == 'waiting' then end_job(job, 'expire', now, ttl, 'deadline', '', '') end
end
local held = most_active > 0 and not meta[1] and #found >= active_room and has_work(queue)
if held and not meta[2] then
  redis.call('HSET', meta_key(queue), 'held', '1')
elseif meta[2] and not held then
  redis.call('HDEL', meta_key(queue), 'held')
end
local due = meta[1] and -1 or next_due(queue, now)
if flow_starts > 0 then
  for index = 1, #found do
    redis.call('ZADD', starts_key(queue), whole(now), whole(first + index - 1) .. ':' .. nonce)
  end
  redis.call('PEXPIRE', starts_key(queue), flow_per)
  if not meta[1] and #found >= starts and has_work(queue) then
    local again = tonumber(redis.call('ZRANGE', starts_key(queue), 0, 0, 'WITHSCORES')[2]) + flow_per
    if set_aside then
      -- Each for the time at which the limit will let it start, behind those set aside before; one that comes
      -- back too early, by a little, keeps its place.
      local gap, looked, kept = flow_per / flow_starts, 0, {}
      turn, parties = 0, 0
      local last = tonumber(redis.call('HGET', meta_key(queue), 'aside') or 0)
      while looked < 100 and looks > 0 do
        local ids = next_ids(100 - looked)
        if #ids == 0 then break end
        for _, id in ipairs(ids) do
          local v = redis.call('HMGET', job_key(id), 'status', 'aside', 'skey', 'priority')
          if v[1] ~= 'waiting' then
            looks = looks - 1
          else
            looked = looked + 1
            if v[2] then
              kept[#kept + 1] = { id, tonumber(v[4] or 0), v[3] or nil }
            else
              -- Those set aside before are no more than there are.
              last = math.min(math.max(again, last + gap), again + gap * redis.call('ZCARD', later_key(queue)))
              redis.call('HSET', job_key(id), 'status', 'later', 'aside', '1')
              count(queue, 'waiting', -1)
              count(queue, 'later', 1)
              put_later(queue, id, math.ceil(last))
            end
          end
        end
      end
      for index = #kept, 1, -1 do line_up(queue, kept[index][1], kept[index][2], true, kept[index][3]) end
      redis.call('HSET', meta_key(queue), 'aside', whole(math.ceil(last)))
    end
    if due < 0 or again - now < due then due = again - now end
  end
end
if #found < limit then
  redis.call('ZADD', lot_key(queue), whole(now), node)
else
  redis.call('ZREM', lot_key(queue), node)
end
redis.call('HSET', claims_key(node), queue, cmsgpack.pack({ seq, nonce, first, found }))
answer[2] = cut_short and 0 or due
finish()
return answer
