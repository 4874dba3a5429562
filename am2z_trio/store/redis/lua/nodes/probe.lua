-- Tries commands that change nothing, and tells which of them the server's access rules refuse this user.
--
-- KEYS     none, as access to them may be what is refused
-- ARGV     commands, each a packed list of words
-- RETURNS  for each '', or what the server says where it refuses it
--
-- Invariant: whatever is refused, nothing is left but a key that was of no use before (`access.py`).

local answers = {}
for i, packed in ipairs(ARGV) do
  local answer = redis.pcall(unpack(cmsgpack.unpack(packed)))
  answers[i] = type(answer) == 'table' and answer.err or ''
end
return answers
