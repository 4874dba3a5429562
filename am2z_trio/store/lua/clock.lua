-- Times. Follows the key functions; precedes every script.
--
-- Numbers above 14 digits lose their end in Lua's own formatting; `whole` keeps them.

-- What the nodes say to each other about looking goes with the last of them.
local LOOK_MS = 86400000

local function whole(number) return string.format('%.0f', number) end

-- A node whose lease is close to its end has not been heard for long: the server or the network may have been
-- away for all, and the others are on their way back. Nobody is taken for dead for a while. Not the first write.
local function note_absence(lease_until, now, lease)
  if lease_until - now >= lease / 3 then return end
  local truce = math.min(lease, 3000)
  redis.call('SET', truce_key(), whole(now + truce), 'PX', whole(truce))
end

local function read_clock(given)
  if given ~= '0' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
