-- Tell a node how claims stand that it believes to hold, and give back what it lost by mistake.
--
-- KEYS     anchor
-- ARGV     per claim: id, token
-- RETURNS  per claim: {'held'} | {'held', why it is to be cancelled} | {'settled'} | {'lost'}
-- INVARIANT  a claim is given back only where nobody was granted the job since, so that its token is still
--          the newest one. A stall stays counted only for a node that never asks again.

-- Whether another job of its session may be active.
local function has_room(job)
  local most = job.skey and flow_of(job.queue)[2]
  return not most or number(redis.call('HGET', running_key(job.queue), job.skey) or 0, 0) < number(most, 0)
end

local function stands(id, token)
  -- Nearly always it is as the node believes.
  local v = redis.call('HMGET', job_key(id), 'token', 'cancel', 'status')
  if token ~= '' and v[1] == token and not ENDED[v[3]] then return { 'held', v[2] or nil } end
  local job = load(id)
  if not job or token == '' then return { 'lost' } end
  if job.last_token == token then return { 'settled' } end
  local resumable, node = is_resumable(job, token)
  if resumable and has_room(job) then
    resume_claim(job, token, node)
    return { 'held' }
  end
  if job.status ~= 'failed' then take_stall_back(id, token) end
  return { 'lost' }
end

local answers = {}
for i = 1, #ARGV, 2 do
  local id, token = unpack(ARGV, i, i + 1)
  answers[#answers + 1] = stands(id, token)
end
finish()
return answers
