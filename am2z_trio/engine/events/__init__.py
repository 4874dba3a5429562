"""What is told to everybody.

* `bus` - what this node tells all nodes, and what it hears of them
* `subscriptions` - who listens on this node: one buffer each
"""
