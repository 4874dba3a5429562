-- A page of the nodes that have leases, or had some and are not forgotten yet.
--
-- KEYS     anchor
-- ARGV     clock, first, most
-- RETURNS  per node: {node, ms until its lease is over, claims it holds, how many listen at its inbox, its record}
-- INVARIANT  reads only.

local clock, first, most = unpack(ARGV)
local now, answers, channels = read_clock(clock), {}, {}
local page = redis.call('ZRANGE', nodes_key(), first, first + most - 1, 'WITHSCORES')
for i = 1, #page, 2 do channels[#channels + 1] = inbox_key(page[i]) end
local heard = #channels > 0 and redis.call('PUBSUB', 'NUMSUB', unpack(channels)) or {}
for i = 1, #page, 2 do
  local node, till = page[i], number(page[i + 1], -1)
  answers[#answers + 1] = { node, whole(till < 0 and -1 or till - now), redis.call('HLEN', active_key(node)),
    heard[i + 1], redis.call('HGET', info_key(node), 'info') or '' }
end
return answers
