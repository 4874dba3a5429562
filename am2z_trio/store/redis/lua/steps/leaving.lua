-- Jobs that wait, and are called, begun or ended where they stand. Follows the ghosts.

-- Another job waits for this one, which nobody had called.
local function call_for(job, depth)
  if job.depth or ENDED[job.status] then return end
  note(job.id, 'depth', depth)
  local stands = job.turn and redis.call('ZSCORE', turns_key(job.queue .. '@' .. job.turn), job.id)
  if job.status == 'waiting' and not stands then
    list_call(job.queue, job.id, depth, false)
    wake(job.queue)
  end
end

-- A waiting job begins without being taken from where it waits. Its entry stays in its list, as one that waits no
-- more whenever the job does.
local function leave_place(queue, id, skey)
  if redis.call('ZREM', later_key(queue), id) + redis.call('ZREM', prio_key(queue), id) == 0 then
    redis.call('HINCRBY', job_key(id), 'gen', 1)
    count_ghosts(queue, skey, 1)
  end
end

-- Jobs that wait and were taken out of their lists by this script.
local taken = {}

-- Ends a job that waits or is delayed.
function cancel_unbegun(job, now, ttl, why)
  local listed = job.status == 'waiting' and redis.call('ZREM', prio_key(job.queue), job.id) == 0
  if job.status ~= 'waiting' then redis.call('ZREM', later_key(job.queue), job.id) end
  end_job(job, 'cancel', now, ttl, why, '', '')
  if listed and not job.stood_in_line and not taken[job.id] then count_ghosts(job.queue, job.skey, 1) end
end
