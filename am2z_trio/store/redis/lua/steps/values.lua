-- What the scripts agree on about jobs. Follows the clock.

local NIL = '\192'
-- `~`, with which the name of what has an odd one begins in keys.
local DIGEST = 126
local LOST = 'JOB_STALLED\n' .. STALLED
local ENDED = { completed = true, failed = true, cancelled = true }
local BEGUN_OR_NOT = { waiting = true, later = true, active = true }
-- Nothing to be said, which nobody changes; of a job that has come, so.
local NOTHING = {}
local ACCEPTED = {}
-- Answers to jobs that have not.
local REFUSED = { taken = true, unknown = true, stopped = true, orphan = true, full = true, unfounded = true }
local STATUS_OF = { complete = 'completed', fail = 'failed', cancel = 'cancelled', stall = 'failed',
  expire = 'cancelled', spoil = 'failed' }
