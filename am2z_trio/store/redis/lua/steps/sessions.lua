-- Which jobs of a session have not ended, and which sessions have any. Follows the values.
--
-- Those that end in one call leave their session together, at its end or before another one joins it.

local leavers, leavers_order = {}, {}
local function leave_together(skey)
  local ids = leavers[skey]
  if not ids then return end
  leavers[skey] = nil
  redis.call('SREM', jobs_key(skey), unpack(ids))
  if redis.call('EXISTS', jobs_key(skey)) == 0 then redis.call('HDEL', sessions_key(), skey) end
end

local LEAVE_AT_ONCE = 1000
local function leave_jobs(skey, id)
  local ids = leavers[skey]
  if not ids then
    ids = {}
    leavers[skey] = ids
    leavers_order[#leavers_order + 1] = skey
  end
  ids[#ids + 1] = id
  if #ids == LEAVE_AT_ONCE then leave_together(skey) end
end

local function join_jobs(skey, session, ...)
  leave_together(skey)
  redis.call('SADD', jobs_key(skey), ...)
  redis.call('HSETNX', sessions_key(), skey, session)
end
