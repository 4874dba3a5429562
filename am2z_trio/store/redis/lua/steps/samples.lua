-- What is counted of a queue, in slots of time. Follows the registry.

-- The slot that goes on: when it began, and its figures, numbers and values in turn. nil if there is none.
local function open_slot(queue)
  local stored, began, figures = redis.call('HGETALL', fresh_key(queue)), nil, {}
  for i = 1, #stored, 2 do
    local name, value = number(stored[i]), number(stored[i + 1], 0)
    if stored[i] == 'slot' then
      began = value
    elseif name and value ~= 0 then
      figures[#figures + 1] = name
      figures[#figures + 1] = value
    end
  end
  return began, figures
end

-- A slot as it is kept: with what is in its queue now.
local function packed_slot(queue, figures)
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'later', 'active')
  for index = 1, 3 do
    local jobs = number(v[index] or 0, 0)
    if jobs > 0 then
      figures[#figures + 1] = FIRST_GAUGE + index - 1
      figures[#figures + 1] = jobs
    end
  end
  return cmsgpack.pack(figures)
end
