"""One claim in, one settlement out. Nothing in here writes to the store but through what it is given.

* `executor` - runs a claimed job: input, the user's code, and what its end means
* `job_nursery`, `threads` - where such code runs besides its own task
* `calls` - the jobs that a running job asks for
* `breakers` - whether a processor may be called now
"""
