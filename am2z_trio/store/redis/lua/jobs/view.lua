-- Look at jobs.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: {} or {status, attempt, deliveries, stalls, progress, reason, result, digest of its input,
--          processor, session}; of the first ids only, if they use REPLY_BYTES up
-- INVARIANT  reads only.

local answers, size = {}, 0
for _, id in ipairs(ARGV) do
  local v = redis.call('HMGET', job_key(id), 'status', 'attempt', 'deliveries', 'stalls', 'progress', 'reason',
    'result', 'queue', 'input', 'processor', 'session', 'since')
  if v[1] or v[8] then
    answers[#answers + 1] = { v[1] or '', v[2] or '1', deliveries_of(v[3], v[12]) or '0', v[4] or '0',
      v[5] or '0', v[6] or '', v[7] or '', v[9] or '', v[10] or v[8] or '', v[11] or '' }
  else
    answers[#answers + 1] = {}
  end
  size = size + #(v[7] or '')
  if size >= REPLY_BYTES then break end
end
return answers
