-- A session's state as of now.
--
-- KEYS     anchor
-- ARGV     clock, session name
-- RETURNS  {} never written | {version, updated} no state | {version, updated, sha, blob, created, by}
-- INVARIANT  writes nothing; whoever reads verifies the checksum.

local clock, name = unpack(ARGV)
return state_row(name, read_clock(clock))
