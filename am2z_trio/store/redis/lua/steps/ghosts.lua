-- Entries of jobs that wait no more. Follows the ending.

-- Ids that wait no more stay in their list until a claim skips them: to take one out of the midst would take
-- as long as the list is. Where they are half of a list, they are sieved out, a bounded number per call, so that
-- a list which nobody claims from does not grow by them, and one that holds nothing else is not there.
local ghosts, ghosts_order = {}, {}
local function count_ghosts(queue, skey, by)
  local name = skey and queue .. '@' .. skey or queue
  local of_list = ghosts[name]
  if not of_list then
    of_list = { queue = queue, skey = skey, by = 0 }
    ghosts_order[#ghosts_order + 1] = name
    ghosts[name] = of_list
  end
  of_list.by = of_list.by + by
end

-- Looks through up to so many entries of the list; returns how many those were, and how many of them waited no more.
local function sieve(queue, skey, name, most)
  local list, sieved = wait_key(name), sieved_key(name)
  local entries = redis.call('LPOP', list, most) or {}
  local living, dead = {}, 0
  for _, entry in ipairs(entries) do
    local id, gen = read_entry(entry)
    local v = redis.call('HMGET', job_key(id), 'status', 'gen')
    local stays = v[1] and not ENDED[v[1]] and v[2] == gen
    -- What has lost its status is for a claim to judge.
    if not v[1] then stays = redis.call('EXISTS', job_key(id)) == 1 end
    if stays then living[#living + 1] = entry else dead = dead + 1 end
  end
  local more = redis.call('EXISTS', list) == 1
  if #living > 0 then
    if more and redis.call('RPUSH', sieved, unpack(living)) == #living then
      redis.call('HINCRBY', meta_key(queue), 'sieving', 1)
    elseif not more then
      redis.call('RPUSH', redis.call('EXISTS', sieved) == 1 and sieved or list, unpack(living))
    end
  end
  if not more and redis.call('EXISTS', sieved) == 1 then
    redis.call('RENAME', sieved, list)
    redis.call('HINCRBY', meta_key(queue), 'sieving', -1)
  elseif not more and #living == 0 and skey then
    redis.call('ZREM', ready_key(queue), skey)
    redis.call('ZREM', blocked_key(queue), skey)
  end
  return #entries, dead
end

function sieve_ghosts()
  local left = SIEVED
  for _, name in ipairs(ghosts_order) do
    local queue, skey, by = ghosts[name].queue, ghosts[name].skey, ghosts[name].by
    local key = ghosts_key(queue)
    local all = by ~= 0 and redis.call('HINCRBY', key, name, by) or 1
    if by > 0 and left > 0 then
      local length = redis.call('LLEN', wait_key(name)) + redis.call('LLEN', sieved_key(name))
      if all * 2 >= length then
        local most = math.min(left, length, by * SIEVED_PER_GHOST + SIEVED_AT_LEAST)
        left = left - most
        -- Where what is left of the list is less, it goes on with what an earlier call had sieved and put apart.
        repeat
          local seen, dead = sieve(queue, skey, name, most)
          if dead > 0 then all = redis.call('HINCRBY', key, name, -dead) end
          most = most - seen
        until seen == 0 or most <= 0 or all <= 0
      end
    end
    if all <= 0 then redis.call('HDEL', key, name) end
  end
end
