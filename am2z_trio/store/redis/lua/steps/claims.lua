-- A node's claims: their beginning, their end, and its leave from the limits of its queue. Follows the leaving.

-- `claims` is id, token, id, token ... of one node. A server keeps a hash of up to a few hundred short entries as a
-- string that it reads from its beginning for every one of them; but not a hash that has held a long one.
local function hold(node, claims)
  local HELD_AT_ONCE, MANY, LONG = 1000, 10, 65
  local key, n = active_key(node), #claims
  if n > 2 * MANY then claims[n + 1], claims[n + 2] = '', string.rep(' ', LONG) end
  for first = 1, #claims, HELD_AT_ONCE do
    -- `unpack` puts its values on Lua's stack, which has room for some 8,000.
    redis.call('HSET', key, unpack(claims, first, math.min(first + HELD_AT_ONCE - 1, #claims)))
  end
  if n > 2 * MANY then redis.call('HDEL', key, '') end
end

-- A job of the session is active no more: where their number is limited, the next one may be claimed.
local function leave_session(queue, skey)
  if not flow_of(queue)[2] then return end
  if redis.call('HINCRBY', running_key(queue), skey, -1) <= 0 then redis.call('HDEL', running_key(queue), skey) end
  local was_blocked = redis.call('ZREM', blocked_key(queue), skey) == 1
  if was_blocked and redis.call('EXISTS', wait_key(queue .. '@' .. skey)) == 1 then
    take_turn(queue, skey, false)
    wake(queue)
  end
end

-- Lets jobs that had stepped aside go on where there is room; all but the one that is `asking` hear of it.
-- Returns how many.
function let_back(queue, asking)
  local stand_at, running = back_key(queue), running_key(queue)
  local line = redis.call('ZRANGE', stand_at, 0, BATCH - 1)
  if #line == 0 then return 0 end
  local flow, here, let = flow_of(queue), counted(queue), 0
  local v = redis.call('HMGET', meta_key(queue), 'active', 'away')
  local most, per_session = number(flow[3] or 0, 0), number(flow[2] or 0, 0)
  local counting = number(v[1] or 0, 0) + (here.active or 0) - number(v[2] or 0, 0) - (here.away or 0)
  for _, id in ipairs(line) do
    if most > 0 and counting >= most then break end
    local job = load(id)
    local skey = job and per_session > 0 and job.skey
    if not job or not job.away then
      redis.call('ZREM', stand_at, id)
    elseif not skey or number(redis.call('HGET', running, skey) or 0, 0) < per_session then
      redis.call('ZREM', stand_at, id)
      redis.call('HDEL', job_key(id), 'away')
      if skey then redis.call('HINCRBY', running, skey, 1) end
      count(queue, 'away', -1)
      counting, let = counting + 1, let + 1
      if id ~= asking then post(job.node, '\147' .. cmsgpack.pack('go on', id, job.token)) end
    end
  end
  return let
end

-- What is promised with a job's claim, queues, a line each: they count one more that is active, or again one less.
local function count_promised(queues, by)
  for queue in string.gmatch(queues, '[^\n]+') do count(queue, 'active', by) end
end

-- Retires the claim's token. The removal comes first: it is allowed when memory is full. `settled_as`
-- is nil for a claim that is taken away: its token was never settled with, so it is fenced from now on.
local function drop_claim(job, settled_as)
  redis.call('HDEL', active_key(job.node), job.id)
  if settled_as then job.last_token, job.last_outcome = job.token, settled_as end
  if job.turn then pass_turn(job) end
  if #(job.promised or '') > 0 then
    redis.call('HDEL', job.key, 'promised')
    count_promised(job.promised, -1)
  end
  if job.away then
    count(job.queue, 'away', -1)
    redis.call('ZREM', back_key(job.queue), job.id)
  elseif job.skey then
    leave_session(job.queue, job.skey)
  end
end

-- Plain jobs that end leave their node's claims together, when all are settled. A script that was broken off before
-- has left ids of jobs that have ended, which whoever comes upon them takes away.
local closed, closed_order = {}, {}
local function end_claim(job, settled_as)
  if job.more or job.skey and flow_of(job.queue)[2] then return drop_claim(job, settled_as) end
  local of_node = closed[job.node]
  if not of_node then
    of_node = {}
    closed_order[#closed_order + 1] = job.node
    closed[job.node] = of_node
  end
  of_node[#of_node + 1] = job.id
  job.last_token, job.last_outcome = job.token, settled_as
end

local function leave_claims()
  for _, node in ipairs(closed_order) do redis.call('HDEL', active_key(node), unpack(closed[node])) end
end

-- Gives a claimed job back to its queue, unless somebody wants it cancelled: to the front, or for a time
-- when it is due. Returns whether it went back.
local function return_job(job, settled_as, now, ttl, due)
  local node = job.node
  if job.skey and not job.cancel and is_stopping(job.skey, now) then job.cancel = SESSION_STOPPED end
  drop_claim(job, settled_as)
  if job.cancel then
    if settled_as then job.last_outcome = 'cancelled' end
    end_job(job, 'cancel', now, ttl, job.cancel, '', node)
    return false
  end
  local status = due and 'later' or 'waiting'
  redis.call('HDEL', job.key, 'node', 'token', 'away')
  if settled_as then
    note(job.id, 'status', status, 'last_token', job.last_token, 'last_outcome', settled_as)
  else
    note(job.id, 'status', status)
  end
  count(job.queue, 'active', -1)
  count(job.queue, status, 1)
  if due then
    put_later(job.queue, job.id, due)
  else
    put_back(job, true)
  end
  return true
end
