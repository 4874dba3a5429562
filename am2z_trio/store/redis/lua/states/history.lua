-- A session's newest states, newest first.
--
-- KEYS     anchor
-- ARGV     clock, session name, how many of the newest to leave out, most
-- RETURNS  per state: version, sha, created, updated and the length of who wrote it, a space behind each; then who
--          wrote it, and blob; fewer than there are, if they use REPLY_BYTES up
-- INVARIANT  writes nothing; an expired state has no history.

local clock, name, first, most = unpack(ARGV)
local state = load_state(name, read_clock(clock))
if state.sha == '' then return {} end
local answers, size = {}, 0
for index = tonumber(first), first + most - 1 do
  local entry = redis.call('LINDEX', history_key(name), index)
  if not entry then break end
  answers[#answers + 1] = entry
  size = size + #entry
  if size >= REPLY_BYTES then break end
end
return answers
