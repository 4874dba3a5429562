-- Look at dead letters.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: {} or {spec or '', attempt, stalls, failed at, reason, result, processor, session}; of the
--          first ids only, if they use REPLY_BYTES up
-- INVARIANT  reads only.

local answers, size = {}, 0
for _, id in ipairs(ARGV) do
  local v = redis.call('HMGET', job_key(id), 'queue', 'spec', 'attempt', 'stalls', 'failed', 'reason', 'result',
    'status', 'processor', 'session')
  if v[8] == 'failed' and v[1] and redis.call('ZSCORE', dead_key(v[1]), id) then
    answers[#answers + 1] = { v[2] or '', v[3] or '1', v[4] or '0', v[5] or '0', v[6] or '', v[7] or '', v[9] or v[1],
      v[10] or '' }
    size = size + #(v[2] or '') + #(v[7] or '')
  else
    answers[#answers + 1] = {}
  end
  if size >= REPLY_BYTES then break end
end
return answers
