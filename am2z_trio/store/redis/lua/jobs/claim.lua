-- Take up to `limit` jobs; fewer than that parks the node on the queue.
--
-- KEYS     anchor
-- ARGV     clock, node, queue, seq, limit, nonce, result ttl ms, most ended jobs kept, flow: starts, per ms, set aside
--          (1 or 0), most active, most active per session (0: not limited), 1 to take only what other jobs wait for,
--          else 0, jobs that a session may have at a turn, how many it takes unasked, parked, with those of the answer
-- RETURNS  {'lost'} | {'stale'} | {'ok', ms until it is worth another call or -1, grant ...}
--          grant: id, token, spec of a plain job that is granted for the first time; of any other one
--          {id, token, spec, attempt, deliveries, ms to the deadline or -1, row of read_state or '', errors, conflicts}
-- INVARIANT  a token is granted once: the nonce is the caller's, so a server that was rolled back and repeats counter
--          values does not repeat tokens. The same seq gives the same grants. No window of `per` ms sees more than
--          `starts` grants; no more are active than may be. However long the line of what is not granted, a call looks
--          at a bounded part of it; where it ends by that, or by REPLY_BYTES, it asks for another call at once.

local clock, node, queue, seq, limit, nonce, ttl, recent, flow_starts, flow_per, set_aside, most_active, per_session,
  calls_only, in_a_row, unasked = unpack(ARGV)
local now = read_clock(clock)
most_recent, in_a_row = tonumber(recent), tonumber(in_a_row)
seq, limit, flow_starts, flow_per = tonumber(seq), tonumber(limit), tonumber(flow_starts), tonumber(flow_per)
most_active, per_session, calls_only = tonumber(most_active), tonumber(per_session), calls_only == '1'

local lease = redis.call('ZSCORE', nodes_key(), node)
if not lease or number(lease, 0) < 0 then return { 'lost' } end
local last = redis.call('HGET', claims_key(node), queue)
if last then
  last = unpacked(last)
  local whole_one = last and type(last[1]) == 'number' and type(last[2]) == 'string' and type(last[3]) == 'number'
    and type(last[4]) == 'table'
  if not whole_one then last = { -1 } end
  if seq < last[1] then return { 'stale' } end
  if seq == last[1] then
    -- Whether the first answer asked for another call at once is not known any more.
    local answer = { 'ok', #last[4] < limit and has_work(queue) and 0 or next_due(queue, now) }
    for index, id in ipairs(last[4]) do
      local token = whole(last[3] + index - 1) .. ':' .. last[2]
      local job = read(tostring(id))
      if not ENDED[job.status] and redis.call('HGET', job.key, 'token') == token then
        add_grant(answer, job, token, now)
      end
    end
    return answer
  end
end

promote(queue, now)
local found, jobs = {}, {}
local about, lanes, blocked = meta_key(queue), ready_key(queue), blocked_key(queue)
local started, running, called, urgent = starts_key(queue), running_key(queue), calls_key(queue), prio_key(queue)

local meta = redis.call('HMGET', about, 'paused', 'held', 'per_session', 'active', 'unblocking', 'sieving',
  'away', 'most_active')
local sieving = number(meta[6] or 0, 0)
local unblocking = meta[5]
if number(meta[3] or 0, -1) ~= per_session then
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', about, 'per_session')
  if per_session == 0 then
    redis.call('UNLINK', running)
  else
    redis.call('HSET', about, 'per_session', per_session)
  end
  unblocking = true
  redis.call('HSET', about, 'unblocking', '1')
end
if unblocking then
  -- With another limit, nobody is blocked at first: those that met one before get their turn, some per call.
  local limit_now = whole(per_session)
  local others = redis.call('ZRANGEBYSCORE', blocked, '-inf', '(' .. limit_now, 'LIMIT', 0, UNBLOCKED)
  local most = UNBLOCKED - #others
  for _, skey in ipairs(redis.call('ZRANGEBYSCORE', blocked, '(' .. limit_now, '+inf', 'LIMIT', 0, most)) do
    others[#others + 1] = skey
  end
  for _, skey in ipairs(others) do
    redis.call('ZREM', blocked, skey)
    if redis.call('EXISTS', wait_key(queue .. '@' .. skey)) == 1 then take_turn(queue, skey, false) end
  end
  unblocking = #others == UNBLOCKED
  if not unblocking then redis.call('HDEL', about, 'unblocking') end
end
if number(meta[8] or 0, -1) ~= most_active then
  redis.call('HDEL', about, 'most_active')
  if most_active > 0 then redis.call('HSET', about, 'most_active', most_active) end
end
if meta[7] then
  -- Who has stepped aside goes on before any job that waits.
  local flow = flow_of(queue)
  flow[2], flow[3] = per_session > 0 and per_session, most_active > 0 and most_active
  let_back(queue)
end
-- What this call may still look at beside what it grants: ids that wait no more, sessions that are full.
local looks = LOOKS
local places, starts, active_room = meta[1] and 0 or limit, limit, limit
if flow_starts > 0 then
  forget(started, now - flow_per)
  starts = flow_starts - redis.call('ZCOUNT', started, '(' .. whole(now - flow_per), '+inf')
end
if most_active > 0 then
  active_room = most_active - number(meta[4] or 0, 0) + number(meta[7] or 0, 0) + (counted(queue).away or 0)
end
places = math.min(places, starts, active_room)

-- Jobs without a session and every session with jobs are parties, which are served in turn; jobs with a
-- priority come after all of them. Each party gets its share of the room, and the rest goes round again. A
-- session gets `in_a_row` where that is more, and a round of all of them is not too long then.
local parties, turn, share, run = 0, 0, 0, 0
local function take(name, most)
  if sieving <= 0 then return redis.call('LPOP', wait_key(name), most) or {} end
  local entries = redis.call('LPOP', sieved_key(name), most) or {}
  if #entries > 0 and redis.call('EXISTS', sieved_key(name)) == 0 then
    sieving = redis.call('HINCRBY', about, 'sieving', -1)
  end
  if #entries < most then
    for _, entry in ipairs(redis.call('LPOP', wait_key(name), most - #entries) or {}) do
      entries[#entries + 1] = entry
    end
  end
  return entries
end

-- Sessions leave the line together, as many as there may be room for: `drawn` are those that have not been looked at,
-- with their places in it. The others come behind all that stand there, if they have more.
local drawn, nth, seen = {}, 1, {}
local function end_turns()
  for n = nth, #drawn, 2 do redis.call('ZADD', lanes, drawn[n + 1], drawn[n]) end
  drawn, nth = {}, 1
  if #seen > 0 then take_turns(queue, seen) end
  seen = {}
end

-- Returns entries, whether they are of a list, and the session whose list that is.
local scores, passed = {}, 0
local function next_ids(room)
  if calls_only then return redis.call('ZRANGE', called, passed, passed + room - 1), false end
  if turn >= parties then
    end_turns()
    local shared = redis.call('EXISTS', wait_key(queue))
    parties, turn = redis.call('ZCARD', lanes) + shared, 0
    if parties == 0 then
      local first, ids = redis.call('ZPOPMIN', urgent, room), {}
      for i = 1, #first, 2 do
        ids[#ids + 1] = first[i]
        scores[first[i]] = first[i + 1]
      end
      return ids, false
    end
    share = math.ceil(room / parties)
    run = math.max(share, math.min(in_a_row, math.floor(IN_A_ROUND / parties)))
    if shared == 1 then
      turn = 1
      return take(queue, math.min(share, room)), true
    end
  end
  turn = turn + 1
  if nth > #drawn then
    local most = math.min(parties - turn + 1, math.ceil(room / run))
    drawn, nth = redis.call('ZPOPMIN', lanes, most), 1
  end
  local skey = drawn[nth]
  nth = nth + 2
  if not skey then
    -- A session that was found full by one with a priority has left the line meanwhile.
    parties, looks = 0, looks - 1
    if looks <= 0 then return {}, false end
    return next_ids(room)
  end
  local most = math.min(run, room)
  if per_session > 0 then
    most = math.min(most, per_session - number(redis.call('HGET', running, skey) or 0, 0))
    if most <= 0 then
      redis.call('ZADD', blocked, per_session, skey)
      looks = looks - 1
      if looks <= 0 then return {}, false end
      return next_ids(room)
    end
  end
  local ids = take(queue .. '@' .. skey, most)
  if #ids == 0 then return next_ids(room) end
  seen[#seen + 1] = skey
  return ids, true, skey
end

-- Counts the job among the active ones of its session, if there is room for it. If not, one with a
-- priority goes on with its session.
local function enter_session(job)
  local id, skey = job.id, job.skey
  if not job.more then skey = server.call('HGET', job.key, 'skey') end
  if not skey then return true end
  if number(redis.call('HGET', running, skey) or 0, 0) < per_session then
    redis.call('HINCRBY', running, skey, 1)
    return true
  end
  if not calls_only or redis.call('ZREM', urgent, id) == 1 then
    redis.call('RPUSH', wait_key(queue .. '@' .. skey), entry_of(id, job.gen))
  end
  end_turns()
  redis.call('ZADD', blocked, per_session, skey)
  redis.call('ZREM', lanes, skey)
  return false
end

-- Puts entries back where `next_ids` has found them, from the one at `place` on.
local function give_back(entries, place, listed, skey)
  local name = skey and queue .. '@' .. skey or queue
  for index = #entries, place, -1 do
    local entry = entries[index]
    if not listed then
      redis.call('ZADD', urgent, scores[entry], entry)
    elseif redis.call('LPUSHX', sieved_key(name), entry) == 0 then
      redis.call('LPUSH', wait_key(name), entry)
    end
  end
  end_turns()
  if skey then take_turn(queue, skey, true) end
end

-- What a grant takes of the answer, all but the constant part of it.
local function size_of(job)
  if not job.more then return #job.spec end
  local size = #job.spec + #(job.errors or '')
  return job.stored and job.skey and size + redis.call('HSTRLEN', session_key(job.skey), 'blob') or size
end

-- Turns that jobs take by this call.
local turns = {}
-- What was found among the calls waits there no more, and where it waited neither.
local function leave_calls(job)
  redis.call('ZREM', called, job.id)
  if calls_only and job.status == 'waiting' then leave_place(queue, job.id, job.skey) end
end

local expired, odd, size, is_full = {}, {}, 0, false
local heard, differ = is_heard(), false
while #found < places and looks > 0 and not is_full do
  local ids, listed, skey = next_ids(places - #found)
  if #ids == 0 then break end
  for place, entry in ipairs(ids) do
    local id, gen = entry, nil
    if listed then id, gen = read_entry(entry) end
    local job = read(id)
    -- A plain one stands in the line of its session.
    if not job.more then job.skey = skey end
    if job.status ~= 'waiting' or taken[id] or (listed and job.gen ~= gen) then
      -- One that is taken is in a list twice, by somebody's mistake.
      looks = looks - 1
      if listed then count_ghosts(queue, skey, -1) end
      if calls_only then leave_calls(job) end
      local status = job.status
      local earlier = listed and job.gen ~= gen and (BEGUN_OR_NOT[status] or ENDED[status])
      if not taken[id] and status ~= 'cancelled' and not earlier and (status or job.spec or job.queue) then
        odd[#odd + 1] = job
      end
    elseif job.queue ~= queue or flaw_of(job) then
      odd[#odd + 1] = job
      taken[id] = true
      if calls_only or job.depth then leave_calls(job) end
      looks = looks - LOOKS_OF_AN_END
    elseif job.deadline and now > tonumber(job.deadline) or job.expires and now >= job.expires then
      expired[#expired + 1] = job
      taken[id] = true
      if calls_only then leave_calls(job) end
      looks = looks - LOOKS_OF_AN_END
    elseif job.turn and (turns[job.turn] or is_taken(job.turn, id)) then
      if calls_only then leave_calls(job) end
      stand_in_line(job)
      looks = looks - 2
    else
      local bytes = size_of(job)
      if size > 0 and size + bytes > REPLY_BYTES then
        if not calls_only then give_back(ids, place, listed, skey) end
        is_full = true
        break
      elseif per_session == 0 or enter_session(job) then
        size = size + bytes
        if job.turn then turns[job.turn] = id end
        if job.depth then leave_calls(job) end
        found[#found + 1] = id
        jobs[#jobs + 1] = job
        differ = differ or job.more or job.skey
        taken[id] = true
      else
        looks, passed = looks - 1, passed + 1
      end
    end
  end
end

end_turns()

local answer, first = { 'ok', 0 }, 1
if #found > 0 then
  first = redis.call('INCRBY', fence_key(), #found) - #found + 1
  if heard and not differ and #table.concat(found) <= GROUPED_BYTES then
    tell_alike({ name = 'job:started', now = now, node = node, queue = queue, ids = found })
    heard = false
  end
  local active = {}
  for index, id in ipairs(found) do
    local job, token = jobs[index], whole(first + index - 1) .. ':' .. nonce
    server.call('HSET', job.key, 'status', 'active', 'node', node, 'token', token, 'since', stamp(now))
    if job.more then count_delivery(job) end
    active[2 * index - 1], active[2 * index] = id, token
    if job.debounce then leave_debounce(job, job.debounce) end
    if job.turn then redis.call('HSET', floor_key(job.turn), 'holder', id) end
    add_grant(answer, job, token, now)
    if heard then
      local attempt = number(job.attempt or 1, 1)
      tell('job:started', now, node, queue, id, job.skey, attempt ~= 1 and { attempt = attempt })
    end
  end
  hold(node, active)
  count(queue, 'waiting', -#found)
  count(queue, 'active', #found)
end
-- What they have called ends with them, and may be among the jobs that were found: so these are active first.
for _, job in ipairs(odd) do judge(job, queue, now, ttl) end
for _, was in ipairs(expired) do
  local job = load(was.id)
  if job.status == 'waiting' then
    count(queue, 'expired', 1)
    end_job(job, 'expire', now, ttl, was.expires and now >= was.expires and EXPIRED or DEADLINE, '', '')
  end
end
-- One that had been about to take a turn has let the next one come back.
local function has_more()
  if calls_only then return redis.call('EXISTS', called) == 1 end
  return has_work(queue)
end
local cut_short = unblocking or is_full or ((looks <= 0 or #expired + #odd > 0) and has_more())
local held = most_active > 0 and not meta[1] and #found >= active_room and has_work(queue)
if held and not meta[2] then
  redis.call('HSET', about, 'held', '1')
elseif meta[2] and not held then
  redis.call('HDEL', about, 'held')
end
local due = meta[1] and -1 or next_due(queue, now)
if flow_starts > 0 then
  for n = 1, #found do redis.call('ZADD', started, whole(now), whole(first + n - 1) .. ':' .. nonce) end
  -- Our clock may go slower than the server's.
  redis.call('PEXPIRE', started, flow_per + 60000)
  if not meta[1] and #found >= starts and has_more() then
    local first_start = redis.call('ZRANGEBYSCORE', started, '(' .. whole(now - flow_per), '+inf',
      'WITHSCORES', 'LIMIT', 0, 1)
    local again = tonumber(first_start[2]) + flow_per
    if set_aside == '1' and not calls_only then
      -- Each for the time at which the limit will let it start, behind those set aside before; one that comes
      -- back too early, by a little, keeps its place.
      local gap, looked, kept = flow_per / flow_starts, 0, {}
      turn, parties, in_a_row = 0, 0, 1
      local latest = number(redis.call('HGET', about, 'aside') or 0, 0)
      while looked < BATCH and looks > 0 do
        local ids, listed, skey = next_ids(BATCH - looked)
        if #ids == 0 then break end
        for _, entry in ipairs(ids) do
          local id, gen = entry, nil
          if listed then id, gen = read_entry(entry) end
          local v = redis.call('HMGET', job_key(id), 'status', 'aside', 'skey', 'priority', 'gen', 'queue', 'depth')
          local waits = v[1] == 'waiting' and (not listed or v[5] == gen)
          if not waits then
            looks = looks - 1
            if listed then count_ghosts(queue, skey, -1) end
          end
          -- What is odd, a claim that may grant finds out.
          local is_odd = v[1] ~= 'waiting' and v[6] and not ENDED[v[1]]
          if waits or is_odd then looked = looked + 1 end
          if is_odd or waits and v[2] then
            kept[#kept + 1] = { id, urgency(v[4]), true, v[3], v[5] }
          elseif waits then
            -- Those set aside before are no more than there are.
            latest = math.min(math.max(again, latest + gap), again + gap * redis.call('ZCARD', later_key(queue)))
            redis.call('HSET', job_key(id), 'status', 'later', 'aside', '1')
            if v[7] then redis.call('ZREM', called, id) end
            count(queue, 'waiting', -1)
            count(queue, 'later', 1)
            put_later(queue, id, math.ceil(latest))
          end
        end
      end
      end_turns()
      for n = #kept, 1, -1 do line_up(queue, unpack(kept[n])) end
      redis.call('HSET', about, 'aside', whole(math.ceil(latest)))
    end
    if due < 0 or again - now < due then due = again - now end
  end
end
if calls_only and has_work(queue) then
  -- Whatever has woken this node may have been meant for one that claims all that waits.
  redis.call('ZREM', lot_key(queue), node)
  wake(queue, 'free')
end
if #found < limit then
  local limited = meta[1] or flow_starts > 0 or most_active > 0 or per_session > 0
  park(queue, node, now, limited and 0 or tonumber(unasked) - #found, calls_only)
else
  redis.call('ZREM', lot_key(queue), node)
end
redis.call('HSET', claims_key(node), queue, cmsgpack.pack({ seq, nonce, first, found }))
answer[2] = cut_short and 0 or due
finish()
return answer
