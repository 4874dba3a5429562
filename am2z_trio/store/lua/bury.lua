-- Drop dead letters.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  nothing
-- INVARIANT  what is no dead letter is left alone.

for _, id in ipairs(ARGV) do
  local queue = redis.call('HGET', job_key(id), 'queue')
  if queue and redis.call('ZREM', dead_key(queue), id) == 1 then bury(id) end
end
