"""Session states, as users and jobs see them.

* `manager` - `runtime.state`: outside of jobs
* `job_state` - `ctx.state`: inside a job's transaction
* `locks` - session locks: to wait for one, hold it, renew and lose it
* `access` - one node's reads and its writes, in order
"""
