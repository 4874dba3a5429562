-- Schedules: when the next one is due, and what is known of one. Follows the record.

-- A number of ms as it is kept or told: '' where there is none, 'inf' for never.
local function in_order(due) return due == 'inf' and due or whole(number(due, 0)) end

-- Milliseconds until the first one is due; -1: none is, ever.
local function schedule_due(now)
  local first = redis.call('ZRANGE', schedules_key(), 0, 0, 'WITHSCORES')[2]
  local due = first and number(first)
  return due and math.max(0, due - now) or -1
end

-- What is told of a record, and compared with what was: one that says no number there says none to both, or nothing
-- could be done to it ever.
local function revision(text) return whole(number(text or 0, 0)) end

local function next_time(text)
  local at = number(text)
  return at and whole(at) or ''
end

-- Whether this is still the record that somebody was told of.
local function is_meant(key, its_mark, its_rev, mark, rev)
  if (its_mark or '') ~= mark or revision(its_rev) ~= rev then return false end
  return mark ~= '' or redis.call('HEXISTS', key, 'spec') == 1
end

-- How a schedule's last run stands. One that failed before somebody let it go on counts no more.
local function last_stands(id, forgiven)
  local status = id and redis.call('HGET', job_key(id), 'status')
  if not status then return 'ended' end
  if not ENDED[status] then return 'busy' end
  return status == 'failed' and id ~= forgiven and 'failed' or 'ended'
end

-- {name, spec, mark, revision, next or '', due, '' or '=' and why it is paused, since when it waits or '', last job
-- or '', its time, how it stands, fired, skipped, missed, version of the time zones}; {} where there is none.
local function schedule_row(name)
  local v = redis.call('HMGET', schedule_key(name), 'spec', 'mark', 'rev', 'next', 'paused', 'held', 'last', 'last_at',
    'forgiven', 'fired', 'skipped', 'missed', 'tz')
  if not v[1] then return {} end
  local due = redis.call('ZSCORE', schedules_key(), name) or 'inf'
  return { name, v[1], v[2] or '', revision(v[3]), next_time(v[4]), due, v[5] and '=' .. v[5] or '', v[6] or '',
    v[7] or '', v[8] or '', last_stands(v[7], v[9]), v[10] or '0', v[11] or '0', v[12] or '0', v[13] or '' }
end
