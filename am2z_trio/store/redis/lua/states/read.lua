-- A session's state as of now.
--
-- KEYS     anchor
-- ARGV     clock, session name
-- RETURNS  {} never written | {version, updated} no state | {version, updated, sha, blob, created}
-- INVARIANT  writes nothing; whoever reads verifies the checksum.

return state_row(ARGV[2], read_clock(ARGV[1]))
