"""Processors, jobs, workers and the runtimes: what turns a function into a service.

Where things are, from the function a user writes to the outcome a caller gets:

* `processor`, `registry`, `context` - the user's function, how a node knows it, what it gets to see;
  `callables` - what may be such a function, and what its annotations mean
* `compose`, `merge` - processors made of processors
* `runtime` - the public face; `local_runtime` and `queue_runtime` put a store under it; `workers`, `state`,
  `connection` and `dead_letters` of a runtime are `worker_manager`, `states`, `connection`, `dead_letters`
* `node` - what exists while a runtime is entered, and the tree of its tasks; `here` - the loop it lives in
* `submissions`, `results`, `job` - jobs on their way out, outcomes on their way in; `vacancies` - whether
  anybody serves what is waited for, and for how long its callers wait
* `worker` - claims jobs for free slots; `claims` - the jobs this node holds, `holdings` - whether the store
  agrees, `fence` - which of them stop while it is away; `capacity` - how many run
* `hogs` - sees jobs that keep the event loop to themselves
* `executor` - a claimed job in, a settlement out; `settler` - settlements on their way to the store
* `calls`, `circuits` - what a running job asks for: other jobs, and whether a processor may be called
* `sessions`, `session_stops`, `session` - a nursery per session, its end, and how a user holds it
* `states`, `node_states`, `job_state`, `locks`, `lines` - session states: outside of jobs, on their way,
  inside a job, and under a lock
* `bus`, `subscriptions`, `announcements` - what is told to everybody: events and who hears them, and which
  queues are served here

The hot path is worker, executor, settler: one claim and one settle call carry many jobs, a job
costs its slot no round trip, and nothing there logs, formats or looks up by name more than once.
"""
