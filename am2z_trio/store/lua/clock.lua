-- Times. Follows the key functions; precedes every script.
--
-- Numbers above 14 digits lose their end in Lua's own formatting; `whole` keeps them.

local function whole(number) return string.format('%.0f', number) end

local function read_clock(given)
  if given ~= '0' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
