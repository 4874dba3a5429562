"""The store in memory, and what every store must do: the executable specification.

* `store` - one node's view of a server, behind the `Store` port
* `server` - what the nodes share: its parts, put together

Operations, by the subjects that the scripts and the conformance suite have, too:

* `enqueue`, `claim`, `settle` - jobs come in, go out, and are settled
* `jobs` - looked at and cancelled, by whoever knows their ids
* `logs` - what jobs have logged
* `dead_letters` - what has failed for good
* `sessions` - counted, and stopped
* `queues` - which there are, who serves them, what is in them
* `schedules` - what is to run again and again
* `nodes` - leases, and the claims of nodes that leave or die
* `chronicle` - what is written down of what happened
* `states`, `locks`, `breakers`
* `facts` - what decides whether a job is granted next; with it `inspection`, what an operator asks
* `silences` - findings that are silenced
* `samples` - what nodes have counted of a queue
* `listing` - jobs in lists

The steps that they share, each of which knows only those above it:

* `outbox` - what has yet to be said to whom
* `job`, `queue`, `line`, `bounds`, `fence` - one job's record, one queue, what waits in it, how much one
  operation does at most, numbers that only grow
* `ledger` - which jobs there are and where each of them waits
* `turns` - who works on a session's state
* `retention` - how long records are kept
* `endings` - a job's end, and that of what it has called
* `leases` - who has joined, and who is dead
* `holdings` - how a job becomes a node's, and how it ceases to be

Steps take `now`, milliseconds since the epoch; an operation ends with `Ledger.deliver`.
"""
