"""The store in memory, and what every store must do: the executable specification.

* `store` - one node's view of a server, behind the `Store` port
* `server` - what the nodes share: plain code, no awaits, time passed in
* `ledger` - jobs, queues and messages, and the steps that operations share
* `queue` - one queue: what waits, in which order it is served, and what limits it
* `states` - session states and locks
"""
