-- Pack the waits of a job that is to be parked, and has many.
--
-- KEYS     anchor
-- ARGV     id, token, keys of those that stay, a line each
-- RETURNS  1 | 0 the token is not the current one
-- INVARIANT  what is packed is what was open and stays, nothing else; `settle` finds it so, whatever signals come
--          before it.

local id, token, keys = unpack(ARGV)
local job = load(id)
if not job or token == '' or job.token ~= token then return 0 end
local open, all = all_waits(id)
local kept, order, named, left = {}, {}, {}, {}
for key in string.gmatch(keys, '[^\n]+') do kept[key] = open[key] end
for _, key in ipairs(all) do
  if kept[key] then
    order[#order + 1], named[open[key][1]] = key, true
  else
    left[#left + 1] = open[key][1]
  end
end
pack_waits(waits_key(id), kept, order)
for _, name in ipairs(left) do
  if not named[name] then leave_awaiting(job, name) end
end
finish()
return 1
