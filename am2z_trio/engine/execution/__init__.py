"""One claim in, one settlement out. Nothing in here writes to the store but through what it is given.

* `executor` - a run from its beginning to its settlement
* `attempt` - what is known of a run: its input, and what bounds it
* `invoke` - calls its code: here, in its own nursery (`job_nursery`) or in a thread (`threads`)
* `lines` - of users' code that are under way, wherever it runs
* `verdict` - what its end means, and the `failures` it may be; `settlements` - how that is written down
* `job_logs` - what jobs log themselves, where that is kept
* `run_log` - what the log hears of runs, where it is asked for
* `contexts` - what its code may ask of the node; `calls` - the jobs that it asks for;
  `waits` - what it waits for beside them
* `traced` - runs of a node that has a tracer
* `breakers` - whether a processor may be called now
"""
