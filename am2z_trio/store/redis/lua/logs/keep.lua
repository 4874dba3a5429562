-- Keep lines that jobs have logged: the last ones of each.
--
-- KEYS     anchor
-- ARGV     most lines of a job, then per job: id, token, lines, each with its end
-- RETURNS  per job: 1, or 0 where the token is neither its claim's nor the one that it was settled with last
-- INVARIANT  only the newest token writes, and the one that it was settled with until another one is given. Lines
--          that are the last ones already have been sent again.

local most = unpack(ARGV, 1, 1)
most = tonumber(most)

local function keep(id, token, lines)
  local key = job_key(id)
  local v = redis.call('HMGET', key, 'token', 'last_token', 'logs')
  if token == '' or (v[1] ~= token and v[2] ~= token) then return 0 end
  local kept = v[3] or ''
  if string.sub(kept, -#lines) == lines then return 1 end
  kept = kept .. lines
  if #kept > MAX_LINES_BYTES then
    kept = string.sub(kept, -MAX_LINES_BYTES)
    kept = string.sub(kept, (string.find(kept, '\n', 1, true) or #kept) + 1)
  end
  local _, many = string.gsub(kept, '\n', '')
  local from = 1
  for _ = 1, many - most do from = string.find(kept, '\n', from, true) + 1 end
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', key, 'logs')
  redis.call('HSET', key, 'logs', string.sub(kept, from))
  return 1
end

local answers = {}
for i = 2, #ARGV, 3 do
  local id, token, lines = unpack(ARGV, i, i + 2)
  answers[#answers + 1] = keep(id, token, lines)
end
return answers
