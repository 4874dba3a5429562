"""Processors, jobs, workers and the runtimes: what turns a function into a service.

A room per subject, on floors; each knows only those below it:

* `runtime` - the public face
* `node` - what exists while a runtime is entered, and the tree of its tasks
* `work` - one queue worked off: claims, slots, settlements on their way; beside it `schedules` - jobs that
  come by the clock
* `execution` - one claim in, one settlement out; beside it `sessions` - a nursery per session
* `submission` - jobs on their way out, outcomes on their way in
* `processors` - what a user writes, and how a node knows it
* `states` - session states as users and jobs see them; beside it `events` - what is told to everybody
* `claim` - one claimed job; `here` - the event loop in which all of a node lives; `figures` - what it counts;
  `tracing` - how a tracer is told, where there is one

The hot path is feeder, slots, executor, settler: one claim and one settle call carry many jobs, a job
costs its slot no round trip, and nothing there logs, formats or looks up by name more than once.
"""
