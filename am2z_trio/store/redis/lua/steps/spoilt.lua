-- What is spoilt: keys of another type and numbers that are none. Precedes every script.
--
-- A script that aborts keeps what it has written so far, so no record may abort one. Two things could: a
-- command on a key that holds something else, and a text where a number belongs. The first is answered here
-- for all commands: what stands there is set aside under `spoilt:` for a week, and the key is as if it had
-- never been written. The second by `number`, through which every number that was stored is read.

local SPOILT_MS = 604800000
local MOST = 9007199254740992
local COUNTS = { INCR = true, INCRBY = true, HINCRBY = true }

-- A number that a double holds exactly; `default` for anything else: no number, NaN, out of range.
local function number(text, default)
  local value = tonumber(text)
  if value and value > -MOST and value < MOST then return value end
  return default
end

-- A packed list; nil for anything else.
local function unpacked(text)
  local read, value = pcall(cmsgpack.unpack, text)
  return read and type(value) == 'table' and value or nil
end

local server = redis

-- Takes away what the command has stumbled over.
local function clear(said, command, key, field)
  if string.find(said, 'WRONGTYPE') then
    local name = string.sub(key, #anchor + 2)
    local aside = spoilt_key(name)
    if server.pcall('RENAME', key, aside).err then return end
    server.call('PEXPIRE', aside, SPOILT_MS)
    server.log(server.LOG_WARNING, 'am2z: ' .. name .. ' held something else; it is now ' .. aside)
    if string.find(name, '^job:') and string.find(command, '^H') then
      -- A job's record, not its children: whoever looks for the outcome is told.
      server.call('HSET', key, 'status', 'failed', 'reason', UNREADABLE .. ': it is none')
      server.call('PEXPIRE', key, SPOILT_MS)
    end
    local queue = string.match(name, '^q:(.*):lot$')
    if queue then
      -- Nodes that were parked there are not any more, and would wait for ever.
      for _, node in ipairs(server.pcall('ZRANGE', nodes_key(), 0, 999)) do
        server.call('PUBLISH', inbox_key(node), '\145' .. cmsgpack.pack({ 'wake', queue }))
      end
    end
  elseif command == 'HINCRBY' then
    server.call('HDEL', key, field)
  elseif COUNTS[command] then
    -- Above whatever it was likely to be.
    server.call('SET', key, server.call('TIME')[1] .. '000')
  end
end

-- Without this guard goes what is done, by `server.call`, to a key that the script has just read through it.
local pcall_command = server.pcall
local function guarded(command, ...)
  local answer = pcall_command(command, ...)
  if type(answer) == 'table' and answer.err then
    local said = answer.err
    local counts = COUNTS[command] and (string.find(said, 'integer') or string.find(said, 'overflow'))
    if counts or string.find(said, 'WRONGTYPE') then clear(said, command, ...) end
    -- Nothing was done; now it is, or the script ends with what the server says.
    return server.call(command, ...)
  end
  return answer
end
-- What a script spells `redis.call` is bundled as `ask`.
-- luacheck: push ignore 211
local redis, ask = { call = guarded }, guarded
-- luacheck: pop
