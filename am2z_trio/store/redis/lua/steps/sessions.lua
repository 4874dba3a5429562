-- Which jobs of a session have not ended, and which sessions have any. Follows the values.
--
-- Those that end in one call leave their session together, at its end or before another one joins it.

-- Which of the keys are there. Mostly all are or none is, which one look tells.
local function existing(keys)
  local many, found = redis.call('EXISTS', unpack(keys)), {}
  for n, key in ipairs(keys) do
    found[n] = many == #keys or many > 0 and redis.call('EXISTS', key) == 1
  end
  return found
end

local leavers, leavers_order = {}, {}
local function leave_together(skeys)
  local keys, empty = {}, {}
  for n, skey in ipairs(skeys) do
    keys[n] = jobs_key(skey)
    if leavers[skey] then redis.call('SREM', keys[n], unpack(leavers[skey])) end
    leavers[skey] = nil
  end
  if #keys == 0 then return end
  for n, there in ipairs(existing(keys)) do
    if not there then empty[#empty + 1] = skeys[n] end
  end
  if #empty > 0 then redis.call('HDEL', sessions_key(), unpack(empty)) end
end

local LEAVE_AT_ONCE = 1000
local function leave_jobs(skey, id)
  local ids = leavers[skey]
  if not ids then
    ids = {}
    leavers_order[#leavers_order + 1] = skey
    leavers[skey] = ids
  end
  ids[#ids + 1] = id
  if #ids == LEAVE_AT_ONCE then leave_together({ skey }) end
end

local function join_jobs(skey, session, ...)
  if leavers[skey] then leave_together({ skey }) end
  redis.call('SADD', jobs_key(skey), ...)
  redis.call('HSETNX', sessions_key(), skey, session)
end
