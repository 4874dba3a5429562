-- What happens to a job where not all goes well. Follows the record.

-- A text that is cut where a character ends.
local function cut(text, most)
  if #text <= most then return text end
  return (string.gsub(string.sub(text, 1, most), '[\192-\255][\128-\191]*$', ''))
end

-- `told` is a code, a line's end and a text; or nil. Of many entries the first one stays, and the last ones.
local function trace(id, now, what, node, attempt, told)
  local trail = unpacked(redis.call('HGET', job_key(id), 'trail')) or {}
  local code, text = string.match(told or '\n', '^([^\n]*)\n(.*)$')
  trail[#trail + 1] = { now, what, node, attempt, cut(code or '', MOST_TEXT), cut(text or told, MOST_TEXT) }
  if #trail > MOST_TRAIL then table.remove(trail, 2) end
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job_key(id), 'trail')
  redis.call('HSET', job_key(id), 'trail', cmsgpack.pack(trail))
end
