"""Processors, jobs, workers and the runtimes: what turns a function into a service.

Where things are, from the function a user writes to the outcome a caller gets:

* `processor`, `registry`, `context` - the user's function, how a node knows it, what it gets to see
* `runtime` - the public face; `local_runtime` and `queue_runtime` put a store under it
* `node` - what exists while a runtime is entered, and the tree of its tasks
* `results`, `job` - jobs on their way out, outcomes on their way in
* `worker` - claims jobs for free slots; `claims` - the jobs this node holds
* `executor` - a claimed job in, a settlement out; `settler` - settlements on their way to the store
* `bus` - events

The hot path is worker, executor, settler: one claim and one settle call carry many jobs, a job
costs its slot no round trip, and nothing there logs, formats or looks up by name more than once.
"""
