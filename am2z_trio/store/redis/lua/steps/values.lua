-- What the scripts agree on about jobs. Follows the clock.

local NIL = '\192'
local CALLER_GONE = 'the job that called it has ended'
local DEBOUNCED = 'a later job took its place (debounce)'
local CHILD_TTL_MS = 604800000
local DEAD_TTL_MS = 604800000
local DEAD_COUNT = 1000
local KEPT_MS = 60000
local STOPPED = 'session stopped'
local LOST = 'JOB_STALLED\nthe job was lost with its worker more often than its queue allows (max_stalled_count)'
local ENDED = { completed = true, failed = true, cancelled = true }
local BEGUN_OR_NOT = { waiting = true, later = true, active = true }
local STATUS_OF = { complete = 'completed', fail = 'failed', cancel = 'cancelled', stall = 'failed', expire = 'cancelled',
  spoil = 'failed' }
