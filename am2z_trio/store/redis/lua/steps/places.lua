-- Where a queue's jobs are found. Follows what is shown.
--
-- Of waiting jobs the order is the one in which they are served, as far as that can be told: lines take turns, a part
-- of them at a time, so that however many there are no more than that is looked through. A place is a part's number
-- times PART, and the place in it.

local LINES, PART, PARTS, FEW_NODES, FEW_HELD = 200, 4294967296, 10, 1000, 2000

-- What stands before a line while it is sieved, which hardly ever one is: `is_sieved` says whether any of the queue is.
local is_sieved = false
local function length_of_front(name) return is_sieved and redis.call('LLEN', sieved_key(name)) or 0 end

-- A line's entries from a place on.
local function entries_of(name, first, most)
  local front, found = length_of_front(name), {}
  if first < front then
    found = redis.call('LRANGE', sieved_key(name), first, math.min(first + most, front) - 1)
  end
  if #found < most then
    local from = math.max(0, first - front)
    for _, entry in ipairs(redis.call('LRANGE', wait_key(name), from, from + most - #found - 1)) do
      found[#found + 1] = entry
    end
  end
  return found
end

-- Entries of lines that take turns, one at a time each, from a place on; and how many there are.
local function entries_in_turns(names, first, most)
  local lengths, all, longest = {}, 0, 0
  for n, name in ipairs(names) do
    lengths[n] = length_of_front(name) + redis.call('LLEN', wait_key(name))
    all, longest = all + lengths[n], math.max(longest, lengths[n])
  end
  if first >= all or most <= 0 then return {}, all end
  -- The round in which the place is: each line has given as many before as there were rounds, or all it has.
  local function before(round)
    local given = 0
    for _, length in ipairs(lengths) do given = given + math.min(length, round) end
    return given
  end
  local round, last = 0, longest
  while round < last do
    local middle = math.ceil((round + last) / 2)
    if before(middle) <= first then round = middle else last = middle - 1 end
  end
  local living, skip, parts, found = 0, first - before(round), {}, {}
  for _, length in ipairs(lengths) do if length > round then living = living + 1 end end
  local at_once = math.ceil(most / living) + 1
  while #found < most and round < longest do
    for n, name in ipairs(names) do
      if lengths[n] > round and skip > 0 then
        skip = skip - 1
      elseif lengths[n] > round and #found < most then
        local part = parts[n]
        if not part or round >= part.first + #part.entries then
          part = { first = round, entries = entries_of(name, round, at_once) }
          parts[n] = part
        end
        found[#found + 1] = part.entries[round - part.first + 1]
      end
    end
    round = round + 1
  end
  return found, all
end

-- {id, of an entry in a line its `gen`, place} of so many that wait, and the place behind them, -1 at the end.
local function waiting_at(queue, place, most)
  local ready, blocked = redis.call('ZCARD', ready_key(queue)), redis.call('ZCARD', blocked_key(queue))
  is_sieved = number(redis.call('HGET', meta_key(queue), 'sieving') or 0, 0) > 0
  local by_priority = math.max(1, math.ceil(ready / LINES))
  local parts = by_priority + 1 + math.ceil(blocked / LINES)
  local part, first, found = math.floor(place / PART), place % PART, {}
  for _ = 1, PARTS do
    if part >= parts then return found, -1 end
    local some, all
    if part == by_priority then
      all = redis.call('ZCARD', prio_key(queue))
      some = redis.call('ZRANGE', prio_key(queue), first, first + most - #found - 1)
      for n, id in ipairs(some) do found[#found + 1] = { id, nil, part * PART + first + n - 1 } end
    else
      local lanes, from = ready_key(queue), part * LINES
      if part > by_priority then lanes, from = blocked_key(queue), (part - by_priority - 1) * LINES end
      local names = {}
      if part == 0 then names[1] = queue end
      for _, skey in ipairs(redis.call('ZRANGE', lanes, from, from + LINES - 1)) do
        names[#names + 1] = queue .. '@' .. skey
      end
      some, all = entries_in_turns(names, first, most - #found)
      for n, entry in ipairs(some) do
        local id, gen = read_entry(entry)
        found[#found + 1] = { id, gen, part * PART + first + n - 1 }
      end
    end
    first = first + #some
    if first < all then return found, part * PART + first end
    part, first = part + 1, first - all
    if #found >= most then break end
  end
  return found, part < parts and part * PART + first or -1
end

-- The same of jobs that run, of whatever queue.
local function active_at(place, most)
  local nodes, found, behind = redis.call('ZRANGE', nodes_key(), 0, FEW_NODES - 1), {}, 0
  table.sort(nodes)
  for _, node in ipairs(nodes) do
    local held, ids = redis.call('HLEN', active_key(node)), nil
    if held > FEW_HELD then
      ids = {}
      local page = redis.call('HSCAN', active_key(node), 0, 'COUNT', FEW_HELD)[2]
      for n = 1, #page, 2 do ids[#ids + 1] = page[n] end
      held = #ids
    end
    if place < behind + held and #found < most then
      ids = ids or redis.call('HKEYS', active_key(node))
      table.sort(ids)
      for n = math.max(0, place - behind) + 1, math.min(held, place - behind + most) do
        if #found < most then found[#found + 1] = { ids[n], nil, place + #found } end
      end
    end
    behind = behind + held
  end
  local next = place + #found
  return found, next < behind and next or -1
end
