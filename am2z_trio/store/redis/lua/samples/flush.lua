-- Add what a node has counted to the slots of its queues.
--
-- KEYS     anchor
-- ARGV     clock, node, number of this flush, then per queue: queue, figures: numbers and values in turn, packed
-- RETURNS  1, or 0 if it has been added before
-- INVARIANT  a node's flush counts once: its number is written first. A slot is written once, as its time is its
--          id: closed by the first flush of a later one, and where the clock has gone back, its figures go with
--          the slot of now. A period is added up from its slots, once, before the first slot of a later one.

local clock, node, seq = unpack(ARGV, 1, 3)
local now = read_clock(clock)
local slot = now - now % SLOT_MS

local function last_of(key)
  local found = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  return found and number(string.match(found[1], '^%d+'), -1) or -1
end

-- What has had its time goes, but for what is yet to be added up with this one.
local function append(key, at, figures, kept)
  local oldest = math.min(now - kept, at - at % PERIOD_MS)
  redis.call('XADD', key, 'MINID', '~', whole(oldest), whole(at) .. '-0', 's', figures)
  redis.call('PEXPIRE', key, whole(kept))
end

local function add_up(queue, began)
  local names, sums = {}, {}
  local slots = redis.call('XRANGE', samples_key(queue), whole(began), whole(began + PERIOD_MS - 1), 'COUNT',
    PERIOD_MS / SLOT_MS)
  for _, entry in ipairs(slots) do
    local figures = unpacked(entry[2][2]) or {}
    for i = 1, #figures - 1, 2 do
      local name, value = number(figures[i]), number(figures[i + 1], 0)
      if name and not sums[name] then
        names[#names + 1], sums[name] = name, value
      elseif name then
        sums[name] = name >= FIRST_GAUGE and math.max(sums[name], value) or sums[name] + value
      end
    end
  end
  local added = {}
  for index, name in ipairs(names) do added[2 * index - 1], added[2 * index] = name, sums[name] end
  return cmsgpack.pack(added)
end

local function close(queue)
  local began, figures = open_slot(queue)
  if not began or began >= slot then return end
  local last = last_of(samples_key(queue))
  if began <= last then return end
  local period = last - last % PERIOD_MS
  if last >= 0 and period < began - began % PERIOD_MS and last_of(archive_key(queue)) < period then
    append(archive_key(queue), period, add_up(queue, period), PERIODS_KEPT_MS)
  end
  append(samples_key(queue), began, packed_slot(queue, figures), SLOTS_KEPT_MS)
  redis.call('UNLINK', fresh_key(queue))
end

if number(redis.call('GET', flushed_key(node)) or 0, 0) >= tonumber(seq) then return 0 end
redis.call('SET', flushed_key(node), seq, 'PX', FLUSHED_FOR_MS)
for i = 4, #ARGV, 2 do
  local queue, told = unpack(ARGV, i, i + 1)
  close(queue)
  redis.call('HSET', fresh_key(queue), 'slot', whole(slot))
  local figures = unpacked(told) or {}
  for at = 1, #figures - 1, 2 do
    local name, value = number(figures[at]), number(figures[at + 1])
    if name and value then redis.call('HINCRBY', fresh_key(queue), whole(name), whole(value)) end
  end
  redis.call('PEXPIRE', fresh_key(queue), SLOTS_KEPT_MS)
end
return 1
