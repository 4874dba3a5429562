-- What jobs were given, as their nodes are.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: its spec, or '' where none is kept; of the first ids only, if they use REPLY_BYTES up
-- INVARIANT  reads only.

local answers, size = {}, 0
for _, id in ipairs(ARGV) do
  local spec = redis.call('HGET', job_key(id), 'spec') or ''
  answers[#answers + 1] = spec
  size = size + #spec
  if size >= REPLY_BYTES then break end
end
return answers
