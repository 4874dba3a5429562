-- A look after what all nodes share: dead nodes, queues that have work and nobody awake, expired states, and
-- queues without jobs that nobody serves. Whoever looks has renewed its own lease.
--
-- A job leaves a dead node exactly once, with its token retired; bounded work per look.
-- A node is dead when its lease has passed, or when nobody has subscribed to its inbox for
-- its own grace: Redis sees a closed connection at once, and cannot see a frozen process.
-- Who was away itself cannot tell who is dead, nor can anybody for a while.
-- A closed connection is all that Redis sees of a death: what is lost by mistake is given back
-- by `reconcile`, and its stall is taken back.
-- Jobs that are lost for another time come back one by one, each time in the other order: one of
-- them may be what kills its worker, and the others shall not be there whenever it does.

-- `ttl` of ended jobs, `grace` of nodes that have said none. Returns how many jobs were taken from dead nodes,
-- 1 if these have more jobs or there are more expired states, and of each job that has failed since it was lost
-- too often {id, processor, session, attempt}.
local function look_after_all(now, ttl, grace, batch, most_queues, reaps)
  -- A suspect is looked at again as soon as its grace is over.
  local look_at = number(redis.call('GET', look_key()), now)
  local function is_dead(name, lease)
    if lease < now then return true end
    if redis.call('PUBSUB', 'NUMSUB', inbox_key(name))[2] > 0 then
      redis.call('HDEL', suspects_key(), name)
      return false
    end
    local since = redis.call('HGET', suspects_key(), name)
    if not since then
      redis.call('HSET', suspects_key(), name, whole(now))
      since = now
    end
    local patience = number(redis.call('HGET', graces_key(), name) or grace, grace)
    local over = number(since, now - patience) + patience
    if over > now and over < look_at then
      look_at = over
      redis.call('SET', look_key(), whole(over), 'PX', LOOK_MS)
    end
    return over <= now
  end

  local reaped, looked, more, failed = 0, 0, 0, {}
  local function reap(name)
    -- Any of them: a scan from the beginning would find the places of those that are taken already.
    local lost, suspects = redis.call('HRANDFIELD', active_key(name), batch - looked), {}
    looked = looked + #lost
    for _, id in ipairs(lost) do
      local job = load_claim(id, name)
      if job then
        reaped = reaped + 1
        local most = number(redis.call('HGET', job.key, 'max_stalled') or MAX_STALLED, 0)
        -- The removal comes first: it is allowed when memory is full.
        redis.call('HDEL', active_key(name), job.id)
        job.stalls = redis.call('HINCRBY', job.key, 'stalls', 1)
        count(job.queue, 'stalled', 1)
        if job.stalls > most and not job.cancel then
          drop_claim(job, nil)
          end_job(job, 'stall', now, ttl, 'stalled', '', name)
          local v = redis.call('HMGET', job.key, 'processor', 'session')
          failed[#failed + 1] = { job.id, v[1] or job.queue, v[2] or '', job.attempt }
        elseif job.stalls > 1 then
          suspects[#suspects + 1] = job
        elseif return_job(job, nil, now, ttl) then
          note_loss(job, name, now)
          tell('job:stalled', now, name, job.queue, job.id, job.skey)
        end
      end
    end
    for index, job in ipairs(suspects) do
      local place = job.stalls % 2 == 0 and index - 1 or #suspects - index
      if return_job(job, nil, now, ttl, now + place * APART_MS) then
        note_loss(job, name, now)
        tell('job:stalled', now, name, job.queue, job.id, job.skey)
      end
    end
    if redis.call('EXISTS', active_key(name)) == 0 and not unserve_all(name, now) and not leave_lots(name) then
      redis.call('ZREM', nodes_key(), name)
      redis.call('HDEL', suspects_key(), name)
      redis.call('SREM', promising_key(), name)
      redis.call('HDEL', graces_key(), name)
      redis.call('HDEL', leases_key(), name)
      redis.call('DEL', info_key(name))
      -- A late duplicate of a claim may still be on its way; the numbers that refuse it stay for a while.
      redis.call('PEXPIRE', claims_key(name), ttl)
    else
      more = 1
    end
  end

  local truce = number(redis.call('GET', truce_key()) or 0, 0) > now
  local nodes = reaps and not truce and redis.call('ZRANGE', nodes_key(), 0, batch - 1, 'WITHSCORES') or {}
  for i = 1, #nodes, 2 do
    if is_dead(nodes[i], tonumber(nodes[i + 1])) then
      redis.call('ZADD', nodes_key(), -1, nodes[i])
      if looked < batch then reap(nodes[i]) else more = 1 end
    end
  end

  local offset = number(redis.call('GET', sweep_key()), 0)
  local queues, dropped = redis.call('ZRANGE', queues_key(), offset, offset + most_queues - 1), 0
  for _, queue in ipairs(queues) do
    local meta = redis.call('HMGET', meta_key(queue), 'paused', 'seen', 'processor', 'made')
    local announced = math.max(number(meta[2] or 0, now), number(meta[4] or 0, now))
    if meta[1] then
      -- A pause has no end of its own.
    elseif meta[3] and now - announced > ANNOUNCED_FOR_MS and jobs_left(queue, now) == 0 then
      if drop_queue(queue) then dropped = dropped + 1 end
    elseif redis.call('ZCARD', lot_key(queue)) > 0 then
      local due = next_due(queue, now)
      if due == 0 or has_work(queue) then wake(queue, due == 0 and 'any') end
    end
  end

  if #queues < most_queues then
    redis.call('DEL', sweep_key())
  else
    redis.call('SET', sweep_key(), whole(offset + most_queues - dropped), 'PX', LOOK_MS)
  end

  local expired = redis.call('ZRANGEBYSCORE', expiries_key(), '-inf', whole(now), 'LIMIT', 0, batch)
  for _, name in ipairs(expired) do
    local v = redis.call('HMGET', session_key(name), 'version', 'updated')
    if v[1] then
      bury_state(name, number(v[1], 0), number(v[2]) and v[2] or '0', 'expired')
    else
      redis.call('ZREM', expiries_key(), name)
    end
  end
  if #expired == batch then more = 1 end
  return reaped, more, failed
end
