-- Look at dead letters.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: {} or {spec, attempt, stalls, failed at, reason, result}; of the first ids only, if they
--          use REPLY_BYTES up
-- INVARIANT  reads only.

local answers, size = {}, 0
for _, id in ipairs(ARGV) do
  local v = redis.call('HMGET', job_key(id), 'queue', 'spec', 'attempt', 'stalls', 'failed', 'reason', 'result', 'status')
  if v[8] == 'failed' and v[2] and redis.call('ZSCORE', dead_key(v[1]), id) then
    answers[#answers + 1] = { v[2], v[3] or '1', v[4] or '0', v[5] or '0', v[6] or '', v[7] or '' }
    size = size + #v[2] + #(v[7] or '')
  else
    answers[#answers + 1] = {}
  end
  if size >= REPLY_BYTES then break end
end
return answers
