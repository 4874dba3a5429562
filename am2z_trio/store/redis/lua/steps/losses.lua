-- What is lost with a node that seems to be dead, and found again when it is not. Follows the claims.
--
-- A claim that is taken away since its node seems to be dead can be resumed by that node for as long as nobody
-- else is granted the job: `lost` says token, number of the grant (it grows with every one) and node. `charged`
-- are the tokens of all grants for which stalls were counted, a line each.
local function note_loss(job, node, now)
  local v = redis.call('HMGET', job.key, 'deliveries', 'charged', 'since')
  local grant = deliveries_of(v[1], v[3]) or '0'
  redis.call('HSET', job.key, 'lost', job.token .. ' ' .. grant .. ' ' .. node,
    'charged', (v[2] or '') .. job.token .. '\n')
  trace(job.id, now, 'lost', node, job.attempt)
end

-- The node of this token is there after all: the stall that was counted for it is taken back.
local function take_stall_back(id, token)
  local charged = redis.call('HGET', job_key(id), 'charged')
  local at = charged and string.find('\n' .. charged, '\n' .. token .. '\n', 1, true)
  if not at then return end
  charged = string.sub(charged, 1, at - 1) .. string.sub(charged, at + #token + 1)
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job_key(id), 'charged')
  if charged ~= '' then redis.call('HSET', job_key(id), 'charged', charged) end
  redis.call('HINCRBY', job_key(id), 'stalls', -1)
end

-- Whether this token's claim was taken away, and nobody has been granted the job or its turn since.
local function is_resumable(job, token)
  if token == '' or (job.status ~= 'waiting' and job.status ~= 'later') then return false end
  if job.turn and is_taken(job.turn, job.id) then return false end
  local v = redis.call('HMGET', job.key, 'lost', 'deliveries', 'since')
  local lost, grant, node = string.match(v[1] or '', '^(%S+) (%d+) (%S+)$')
  if lost ~= token or grant ~= (deliveries_of(v[2], v[3]) or '0') then return false end
  return true, node
end

-- Gives a job whose claim was taken away back to the node that had it, as if that had not been.
local function resume_claim(job, token, node)
  local queue, id = job.queue, job.id
  -- The removals come first: they are allowed when memory is full.
  redis.call('HDEL', job_key(id), 'lost')
  local in_line = job.turn and step_out_of_line(job)
  if job.depth then redis.call('ZREM', calls_key(queue), id) end
  if not in_line then leave_place(queue, id, job.skey) end
  take_stall_back(id, token)
  -- Unless the node has joined again it counts as being reaped, so that the claim cannot be forgotten.
  redis.call('ZADD', nodes_key(), 'NX', -1, node)
  redis.call('HSET', job_key(id), 'status', 'active', 'node', node, 'token', token)
  redis.call('HSET', active_key(node), id, token)
  if job.turn then redis.call('HSET', floor_key(job.turn), 'holder', id) end
  if job.skey and flow_of(queue)[2] then redis.call('HINCRBY', running_key(queue), job.skey, 1) end
  count(queue, job.status, -1)
  count(queue, 'active', 1)
  job.status, job.token, job.node = 'active', token, node
end
