-- A session's newest states, newest first.
--
-- KEYS     anchor
-- ARGV     clock, session name
-- RETURNS  per state: version, sha, created, updated and blob, with a space between
-- INVARIANT  writes nothing; an expired state has no history.

local state = load_state(ARGV[2], read_clock(ARGV[1]))
if state.sha == '' then return {} end
return redis.call('LRANGE', history_key(ARGV[2]), 0, -1)
