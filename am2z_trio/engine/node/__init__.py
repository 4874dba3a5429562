"""What exists while a runtime is entered: one node of those that share a store.

* `node` - the tree of its tasks
* `fleet` - its workers; `inbox` - what the store tells it
* `heartbeat`, `lease` - what keeps it there, and what it looks after
* `announcements` - which queues are served here
* `holdings`, `fence` - whether the store agrees with what this node holds; what stops while it is away
* `access` - rights that are taken away while the node runs
* `memory_watch` - how much memory the process takes, and its limit
"""
