-- Which jobs of a queue have ended, the newest first. Follows the retention.
--
-- What ends in one call is written down together, at its end. A job that has run again stands there for each time.

-- How many of them a queue keeps, as this call says it; 0: none is written down.
local most_recent = 0
local past, past_order = {}, {}
local function note_end(queue, id, now)
  if most_recent == 0 then return end
  local of_queue = past[queue]
  if not of_queue then
    of_queue = { at = now }
    past_order[#past_order + 1] = queue
    past[queue] = of_queue
  end
  of_queue[#of_queue + 1] = id
end

-- What is beyond their number goes with its record, a bounded number per call. A record stays that somebody has asked
-- for by more than a number of the newest: by an id of his own, a time, a call that may be made again, or as a dead
-- letter; and any one for as long as its callers may not have heard of it.
local function forget_oldest(queue, over, now)
  over = math.min(over, may_trim)
  if over <= 0 then return end
  may_trim = may_trim - over
  for _, id in ipairs(redis.call('RPOP', recent_key(queue), over) or {}) do
    local v = redis.call('HMGET', job_key(id), 'status', 'ended', 'asked', 'keep', 'parent', 'failed', 'revived')
    if ENDED[v[1]] and not (v[3] or v[4] or v[5] or v[6] or v[7]) then
      local left = number(v[2], 0) + KEPT_MS - now
      if left <= 0 then
        redis.call('DEL', job_key(id))
      elseif redis.call('PTTL', job_key(id)) > left then
        redis.call('PEXPIRE', job_key(id), whole(left))
      end
    end
  end
end

function list_ended()
  for _, queue in ipairs(past_order) do
    local ids, length = past[queue], 0
    for first = 1, #ids, 1000 do
      length = redis.call('LPUSH', recent_key(queue), unpack(ids, first, math.min(first + 999, #ids)))
    end
    redis.call('PEXPIRE', recent_key(queue), RECENT_TTL_MS)
    if length > most_recent then forget_oldest(queue, length - most_recent, ids.at) end
  end
end
