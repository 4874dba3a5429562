"""What exists while a runtime is entered: one node of those that share a store.

* `node` - the tree of its tasks
* `fleet` - its workers; `sending` - jobs of its own, of which it may be given or begin some at once
* `inbox` - what the store tells it; `lifespan` - what the processors share
* `heartbeat`, `lease` - what keeps it there, and what it looks after
* `announcements` - which queues are served here
* `holdings`, `fence` - whether the store agrees with what this node holds; what stops while it is away
* `control` - what other nodes may ask of this one; `asking` - what it asks them; `introduction` - who it is
* `tree`, `stacks` - what is here now, and where it waits; `inside` - the parts that they look at
* `pulse` - how late the event loop is, and what keeps it
* `health` - what this node thinks of itself; `wedged` - workers that do not claim although they could
* `portal` - the way into its loop from other threads
* `draining` - no more claims, until further notice
* `access` - rights that are taken away while the node runs
* `beside` - what becomes of errors that come together
* `memory_watch` - how much memory the process takes, and its limit
"""
