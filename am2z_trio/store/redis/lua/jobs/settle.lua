-- End, retry or hand back claimed jobs: all effects of one job, or none.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, default state ttl ms, history, then per job: id, token,
--          outcome, result, and '', '=' if its own node need not hear of it where no other does, or '+' and then:
--          reason (for 'failed' and 'retry': the error's code, a line's end, its message; for 'released': the same of
--          why it is left to others, or ''; for 'conflicted': the turn it takes from now on; for 'parked': keys of
--          what it waits for, a line each), delay ms, '=' and the turn it must not take away where it commits, or '',
--          expected version ('': any), expected sha, new sha, new blob, outcomes that it is built on, as
--          `are_recorded` reads them
-- RETURNS  per job: its outcome, which has been applied | {'gone'} | {'replay', outcome} | {'fenced'}
--          | {'unfounded'} what it is built on has not been recorded | {'conflict', row of `states/read`}; of the
--          first jobs only, if conflicts use REPLY_BYTES up: the others are left as they are
-- INVARIANT  only the newest token settles, and once; one that was taken away is the newest until somebody
--          else is granted the job. Only `completed` commits, and only in a session. Every check precedes
--          the first write of a job, and that write is a removal, which Redis allows when memory is full.

local clock, ttl, recent, state_ttl, history = unpack(ARGV, 1, 5)
local now = read_clock(clock)
most_recent = tonumber(recent)

-- Jobs of one session commit one after the other: its state is read once and kept once, as the last of them has
-- left it.
local states, committed = {}, {}
local function keep_committed(state)
  states[state.name], committed[state] = nil, nil
  keep_state(state, now, state_ttl, history)
end

local function settle(id, token, outcome, result, heard, reason, delay, turn, version, sha, new_sha, blob, outcomes)
  local job = load(id)
  if not job then return { 'gone' } end
  delay, turn = tonumber(delay), turn ~= '' and string.sub(turn, 2)
  if token == '' then return { 'fenced' } end
  if job.last_token == token then
    -- What ended at once has no other outcome than its status.
    return { 'replay', redis.call('HGET', job_key(id), 'last_outcome') or job.status }
  end
  if job.token ~= token then
    local resumable, holder = is_resumable(job, token)
    if job.status == 'active' and redis.call('HGET', active_key(job.node), id) == token then
      -- Among its node's claims it is still this one: something else has changed the record, which is plain no more.
      job.token, job.more = token, true
    elseif not resumable then
      if job.status ~= 'failed' then take_stall_back(id, token) end
      -- It was taken away, or ended, by an earlier program, which has left it.
      if job.status ~= 'active' and job.promised then
        redis.call('HDEL', job.key, 'promised')
        count_promised(job.promised, -1)
      end
      count(job.queue, 'fenced', 1)
      trace(id, now, 'refused', '', job.attempt, token .. '\n' .. outcome)
      return { 'fenced' }
    end
    if resumable then resume_claim(job, token, holder) end
  end
  if outcomes and not are_recorded(outcomes) then return { 'unfounded' } end
  local state
  if turn and outcome == 'completed' and job.skey then
    state = states[job.skey] or load_state(job.skey, now)
    states[job.skey] = state
    if version ~= '' and (turn ~= '' and is_taken(turn, id)
      or (whole(state.version) ~= version or state.sha ~= sha)) then
      if committed[state] then keep_committed(state) end
      count(job.queue, 'conflicts', 1)
      trace(id, now, 'conflict', job.node, job.attempt, '\nit is version ' .. whole(state.version))
      return { 'conflict', state_row(job.skey, now) }
    end
  end
  local node = job.node
  if outcome == 'released' or outcome == 'conflicted' or outcome == 'parked' then
    local due = delay > 0 and now + delay
    if outcome == 'parked' then due = parked_until(job, reason, now) end
    if not return_job(job, outcome, now, ttl, due) then return 'cancelled' end
    if outcome == 'parked' then
      keep_waits(job, reason)
      if due then tell('job:parked', now, node, job.queue, id, job.skey, due < PARKED_TILL_MS and {['until'] = due}) end
      return outcome
    end
    if outcome == 'conflicted' then
      redis.call('HINCRBY', job_key(id), 'conflicts', 1)
      if reason ~= '' then redis.call('HSET', job_key(id), 'turn', reason) end
      reason = nil
    end
    trace(id, now, outcome, node, job.attempt, reason)
    return outcome
  end
  if outcome == 'retry' and job.skey and not job.cancel and is_stopping(job.skey, now) then
    job.cancel = SESSION_STOPPED
  end
  -- Its record's end begins with a removal; the state is kept behind that.
  local f = outcome == 'retry' and drop_claim or end_claim
  f(job, outcome)
  if state then
    advance(state, now, new_sha, blob, history, node .. '\n' .. token .. '\n' .. id)
    committed[state] = true
  end
  if outcome == 'retry' and not job.cancel then
    tell('job:retrying', now, node, job.queue, id, job.skey, told_of_failure(job.attempt, reason))
    local status = delay > 0 and 'later' or 'waiting'
    redis.call('HDEL', job_key(id), 'node', 'token', 'away', 'conflicts')
    note(id, 'status', status, 'attempt', job.attempt + 1, 'last_token', token, 'last_outcome', 'retry')
    if result ~= '' then redis.call('HSET', job_key(id), 'errors', result) end
    trace(id, now, 'retry', node, job.attempt, reason)
    count(job.queue, 'active', -1)
    count(job.queue, status, 1)
    count(job.queue, 'retried', 1)
    if delay > 0 then
      put_later(job.queue, id, now + delay)
    else
      put_back(job, false)
    end
    return 'retry'
  end
  local told = outcome == 'failed' and reason
  local transition = told and 'fail' or outcome == 'completed' and 'complete' or 'cancel'
  if transition ~= 'cancel' then
    reason = ''
  elseif reason == '' or outcome == 'retry' then
    reason = job.cancel or ''
  end
  job.last_outcome = STATUS_OF[transition]
  if heard and job.origin == node then job.origin = '' end
  end_job(job, transition, now, ttl, reason, result, node, told)
  return job.last_outcome
end

local answers, size = {}, 0
local i = 6
while i <= #ARGV and size < REPLY_BYTES do
  local id, token, outcome, result, more = unpack(ARGV, i, i + 4)
  i = i + 5
  local answer
  if more == '+' then
    answer = settle(id, token, outcome, result, false, unpack(ARGV, i, i + 7))
    i = i + 8
  else
    answer = settle(id, token, outcome, result, more == '=', '', 0, '')
  end
  answers[#answers + 1] = answer
  if type(answer) == 'table' and answer[1] == 'conflict' then size = size + #(answer[2][4] or '') end
end
for state in pairs(committed) do keep_committed(state) end
leave_claims()
finish()
return answers
