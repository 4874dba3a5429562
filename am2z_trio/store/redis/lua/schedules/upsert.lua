-- Write a schedule down, or let it be if it says this already.
--
-- KEYS     anchor
-- ARGV     nonce of this call, name, spec, owner, next time ms or '', when it is due, version of the time zones, mark
--          and revision of the one that is meant, or '' twice, 1 to write over another owner's, else 0
-- RETURNS  {'created' | 'changed' | 'unchanged', revision} | {'stale', revision} it is not the one that is meant
--          | {'owned', revision, owner}
-- INVARIANT  a schedule stands in `schedules` exactly when it has a record. What is paused stays so, and its runs
--          stay. A call that comes again answers as it did.

local nonce, name, spec, owner, next, due, tz, mark, meant, take_over = unpack(ARGV)
local key = schedule_key(name)
local v = redis.call('HMGET', key, 'spec', 'rev', 'written', 'paused', 'how', 'owner', 'mark')
local rev = number(v[2] or 0, 0)
if v[1] and v[3] == nonce then return { v[5] or 'changed', rev } end
if meant ~= '' and not is_meant(key, v[7], v[2], mark, meant) then return { 'stale', rev } end
if v[1] == spec then return { 'unchanged', rev } end
if v[1] and (v[6] or '') ~= owner and take_over == '0' then return { 'owned', rev, v[6] or '' } end
local how = v[1] and 'changed' or 'created'
redis.call('HSET', key, 'spec', spec, 'rev', whole(rev + 1), 'written', nonce, 'how', how, 'owner', owner, 'next', next,
  'tz', tz)
redis.call('HSETNX', key, 'mark', nonce)
redis.call('HDEL', key, 'held')
redis.call('ZADD', schedules_key(), v[4] and 'inf' or in_order(due), name)
return { how, rev + 1 }
