-- A job as it is shown to a person. Follows the trail, and many waits.

-- What a job that is parked waits for, some of it by their keys: {name, since, until or -1} each; nil if it is not.
local function parked_for(id, status)
  if status ~= 'later' or redis.call('HGET', job_key(id), 'last_outcome') ~= 'parked' then return nil end
  local box, found = waits_key(id), {}
  local first = is_counted(box) and unpacked(redis.call('HGET', box, 'first'))
  if not first then
    local open, keys = all_waits(id)
    first = {}
    for index, key in ipairs(keys) do first[index] = open[key] end
  end
  for index = 1, math.min(#first, NAMED) do
    local wait = first[index]
    if is_wait(wait) then found[#found + 1] = { wait[1], wait[2], wait[3] } end
  end
  return found
end

-- Packed, in the order of `listing.Shown`; nil where there is no record. And its status, its queue, its entry's
-- `gen`.
local function shown(id)
  local key = job_key(id)
  local v = redis.call('HMGET', key, 'status', 'queue', 'session', 'at', 'since', 'ended', 'node', 'token', 'origin',
    'deliveries', 'stalls', 'progress', 'reason', 'trail', 'more')
  local status, queue = v[1], v[2]
  if not status and not queue then return nil end
  if not ENDED[status] and not BEGUN_OR_NOT[status] then status = 'unreadable' end
  local w, due, spec = {}, nil, 0
  -- Nobody waits any more for one that has ended, nor wants it cancelled.
  local over = ENDED[status]
  if v[15] then
    w = server.call('HMGET', key, 'attempt', 'deadline', 'priority', 'parent', 'turn', 'away', 'conflicts', 'cancel',
      'processor', 'depth', 'gen', 'labels', 'keep')
  end
  if status == 'later' then due = redis.call('ZSCORE', later_key(queue or ''), id) end
  if status ~= 'completed' and status ~= 'cancelled' then spec = server.call('HSTRLEN', key, 'spec') end
  local runs = status ~= 'waiting' and status ~= 'later'
  local token = not over and v[8] or ''
  local trail = v[14] and unpacked(v[14]) and v[14] or '\144'
  local labels = w[12] and unpacked(w[12]) and w[12] or '\144'
  local waits = parked_for(id, status)
  return '\220\0\30' .. cmsgpack.pack(id, status, queue or '', w[9] or queue or '', v[3] or '', number(v[4], 0),
    runs and number(v[5], 0) or 0, number(v[6], 0), number(w[1] or 1, 1),
    number(deliveries_of(v[10], v[5]) or 0, 0), number(v[11] or 0, 0),
    v[7] or '', cut(token, MOST_TEXT), number(due or 0, 0),
    number(string.match(w[2] or '', '%d*$'), 0), number(w[3] or 0, 0),
    number(v[12] or 0, 0), w[4] or '', cut(not over and v[9] or '', MOST_ORIGINS), cut(v[13] or '', MOST_TEXT),
    cut(not over and w[8] or '', MOST_TEXT), spec, w[5] or '', w[6] and 1 or 0, number(w[7] or 0, 0),
    number(w[10] or 0, 0), cut(w[13] or '', MOST_TEXT)) .. labels .. trail
    .. (waits and cmsgpack.pack(waits) or '\144'), status, queue, w[11] or false
end
