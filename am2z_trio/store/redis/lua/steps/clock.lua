-- Times. Follows the key functions; precedes every script.
--
-- Numbers above 14 digits lose their end in Lua's own formatting; `whole` keeps them.

-- What the nodes say to each other about looking goes with the last of them.
local LOOK_MS = 86400000

local function whole(value) return string.format('%.0f', value) end

-- A time as records have it: this call's is written into many of them.
local stamped, stamps
local function stamp(time)
  if time ~= stamped then stamped, stamps = time, whole(time) end
  return stamps
end

-- A node whose lease is close to its end has not been heard for long: the server or the network may have been
-- away for all, and the others are on their way back. Nobody is taken for dead for a while. Not the first write.
local function note_absence(lease_until, now, lease)
  if lease_until - now >= lease / 3 then return end
  local truce = math.min(lease, TRUCE_MS)
  redis.call('SET', truce_key(), whole(now + truce), 'PX', whole(truce))
end

-- What counts is the time that the nodes keep, as `store/witness.py` says: the server's plus an offset. Where it
-- is not within STILL_MS after it was seen last, it stands still until a node has said how much has passed.
local STILL_MS = 5000

-- How many entries the history of events is to have; nil: none are written. It is said behind the clock.
local kept_events = nil

local function server_clock(given)
  if given == '0' then
    local time = server.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), true
  end
  local clock, most = string.match(given, '^(%S+) (%d+)$')
  if most then
    kept_events = most
    return server_clock(clock)
  end
  -- A test's: the nodes' own, or with a 't' the server's.
  local told = string.match(given, '^t(.*)')
  return tonumber(told or given), told
end

local function kept_clock()
  -- Every script asks: without the guard, whose work is done here.
  local kept = server.pcall('GET', clock_key())
  if type(kept) ~= 'string' then return nil end
  local offset, seen = string.match(kept, '^(%-?%d+) (%d+)$')
  return number(offset), number(seen), kept
end

local function read_clock(given)
  local told, may_jump = server_clock(given)
  if not may_jump then return told end
  local offset, seen = kept_clock()
  if not (offset and seen) then return told end
  local now = told + offset
  if now < seen or now > seen + STILL_MS then return seen end
  return now
end
