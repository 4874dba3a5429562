-- Which nodes serve a queue. Follows the clock.
--
-- `servers` of a queue and `serves` of a node say the same. Only a node with a lease stands there, and what ends
-- its lease takes it out. Until somebody has, it does not count as soon as it can be told to be dead: its lease
-- is over, or nobody listens to its inbox and it has not renewed for its grace and the pause between two renewals.

-- Of the nodes whose leases end first: dead ones are among them.
local dead_ones = nil
local function dead_nodes(now)
  if dead_ones then return dead_ones end
  local first, silent, channels = redis.call('ZRANGE', nodes_key(), 0, DEAD_AMONG - 1, 'WITHSCORES'), {}, {}
  dead_ones = {}
  for i = 1, #first, 2 do
    local till = number(first[i + 1], -1)
    if till < now then
      dead_ones[#dead_ones + 1] = first[i]
    else
      silent[#silent + 1] = { first[i], till }
      channels[#channels + 1] = inbox_key(first[i])
    end
  end
  local heard = #channels > 0 and redis.call('PUBSUB', 'NUMSUB', unpack(channels)) or {}
  for index, one in ipairs(silent) do
    if heard[2 * index] == 0 then
      local lease, grace = redis.call('HGET', leases_key(), one[1]), redis.call('HGET', graces_key(), one[1])
      if now - (one[2] - number(lease or 0, 0)) > number(grace or 0, 0) + RENEWED_MS then
        dead_ones[#dead_ones + 1] = one[1]
      end
    end
  end
  return dead_ones
end

local function workers_of(queue, now)
  local all = redis.call('SCARD', servers_key(queue))
  local dead = all > 0 and dead_nodes(now) or {}
  if #dead == 0 then return all end
  for _, serves in ipairs(redis.call('SMISMEMBER', servers_key(queue), unpack(dead))) do all = all - serves end
  return all
end
