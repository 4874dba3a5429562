-- Tell events that are no change of a job's, and write them down.
--
-- KEYS     anchor
-- ARGV     clock, node, name of this connection's calls, number of this one; then per event: as it is told, as it is
--          written down, or '' for the same
-- RETURNS  1, or 0 if it has been told
-- INVARIANT  told and written down once, however often the call arrives. A node's calls come in their order.

local clock, node, calls, call = unpack(ARGV, 1, 4)
read_clock(clock)
local known, last = string.match(redis.call('GET', told_key(node)) or '', '^(.*) (%d+)$')
if known == calls and tonumber(last) >= tonumber(call) then return 0 end
redis.call('SET', told_key(node), calls .. ' ' .. call, 'PX', NOTED_FOR_MS)
local pieces = {}
for i = 5, #ARGV, 2 do
  local group, written = unpack(ARGV, i, i + 1)
  pieces[#pieces + 1] = group
  write_down(written ~= '' and written or group)
end
redis.call('PUBLISH', events_key(), packed_list(#pieces, pieces))
return 1
