"""One claim in, one settlement out. Nothing in here writes to the store but through what it is given.

* `executor` - a run from its beginning to its settlement
* `attempt` - what is known of a run: its input, and what bounds it
* `invoke` - calls its code: here, in its own nursery (`job_nursery`) or in a thread (`threads`)
* `verdict` - what its end means, and the `failures` it may be; `settlements` - how that is written down
* `contexts` - what its code may ask of the node; `calls` - the jobs that it asks for
* `breakers` - whether a processor may be called now
"""
