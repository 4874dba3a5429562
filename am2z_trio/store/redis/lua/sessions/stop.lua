-- End a bounded number of a session's jobs; the running ones too, unless only the waiting ones are meant.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, session name, session, node that asks, cursor, batch, running
--          ones too (1 or 0), ms for which no job of the session is accepted from now
-- RETURNS  {next cursor, jobs ended, id of a running job that was spared, ...}
-- INVARIANT  after a call with everything meant and an answered cursor '0', no job of the session that was
--          accepted before can write any more: each has ended, and its token is retired. Nothing is left
--          of the session but its state. Who asks hears the outcome of the jobs that were spared.

local clock, ttl, recent, name, session, node, cursor, batch, running, refuse = unpack(ARGV)
most_recent = tonumber(recent)
local STOPS_KEPT_MS = 3600000
local now, key, everything = read_clock(clock), session_key(name), running == '1'

-- The removal comes first: it is allowed when memory is full.
redis.call('HDEL', key, 'stopping')
redis.call('HSET', key, 'stopping', whole(now + refuse))
keep_unwritten(key)
local page = redis.call('SSCAN', jobs_key(name), cursor, 'COUNT', batch)
local answer = { page[1], 0 }
table.sort(page[2])
for _, id in ipairs(page[2]) do
  local job = load(id)
  if not job or ENDED[job.status] or job.skey ~= name then
    redis.call('SREM', jobs_key(name), id)
  elseif job.status ~= 'active' then
    cancel_unbegun(job, now, ttl, SESSION_STOPPED)
    answer[2] = answer[2] + 1
  elseif everything then
    post(job.node, '\148' .. cmsgpack.pack('cancel', id, job.token, SESSION_STOPPED))
    local held_by = job.node
    drop_claim(job, nil)
    end_job(job, 'cancel', now, ttl, SESSION_STOPPED, '', held_by)
    answer[2] = answer[2] + 1
  else
    if not string.find('\n' .. job.origin .. '\n', '\n' .. node .. '\n', 1, true) then
      redis.call('HSET', job_key(id), 'origin', job.origin == '' and node or job.origin .. '\n' .. node)
    end
    answer[#answer + 1] = id
  end
end

leave_together({ name })
if everything and answer[1] == '0' then
  if redis.call('EXISTS', jobs_key(name)) == 1 then
    answer[1] = '-1'
  else
    redis.call('HDEL', sessions_key(), name)
    redis.call('HDEL', key, 'stopping')
    if not redis.call('HGET', key, 'version') and not redis.call('HGET', key, 'ttl') then redis.call('DEL', key) end
    redis.call('DEL', lock_key(name), line_key(name), mail_key(name))
    -- All who listen hear it, and who did not can ask for a while. The number tells what was opened after it;
    -- who asks knows it from the answer.
    local stop = new_fence()
    redis.call('ZADD', stopped_key(), whole(stop), name)
    redis.call('ZREMRANGEBYRANK', stopped_key(), 0, -STOPS_KEPT - 1)
    redis.call('PEXPIRE', stopped_key(), STOPS_KEPT_MS)
    redis.call('PUBLISH', stops_key(), packed_list(1, { '\148' .. cmsgpack.pack('stopped', session, stop, node) }))
  end
end
finish()
return answer
