-- The queues that somebody has announced. Follows the steps of a job's life.

-- Jobs of a queue that have not ended, and its dead letters.
local function jobs_left(queue, now)
  local v, all = redis.call('HMGET', meta_key(queue), 'waiting', 'later', 'active'), 0
  for index = 1, 3 do all = all + math.max(0, number(v[index], 0)) end
  return all + redis.call('ZCOUNT', dead_key(queue), whole(now), '+inf')
end

-- Takes a queue without jobs out of the registry, and what it has left. Returns false if that is too much for
-- one call: sessions' lists of ids that wait no more.
local AT_ONCE = 100
local function drop_queue(queue)
  for _, turns in ipairs({ ready_key(queue), blocked_key(queue) }) do
    for _, skey in ipairs(redis.call('ZRANGE', turns, 0, AT_ONCE - 1)) do
      local name = queue .. '@' .. skey
      redis.call('ZREM', turns, skey)
      redis.call('UNLINK', wait_key(name), sieved_key(name))
    end
    if redis.call('EXISTS', turns) == 1 then return false end
  end
  redis.call('ZREM', queues_key(), queue)
  redis.call('UNLINK', meta_key(queue), lot_key(queue), wait_key(queue), sieved_key(queue), ghosts_key(queue),
    ready_key(queue), blocked_key(queue), running_key(queue), prio_key(queue), later_key(queue), starts_key(queue),
    done_key(queue), dead_key(queue), recent_key(queue), back_key(queue), calls_key(queue), servers_key(queue),
    fresh_key(queue), samples_key(queue), archive_key(queue))
  return true
end
