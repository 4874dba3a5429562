"""What is told to everybody.

* `bus` - what this node tells all nodes, and what it hears of them
* `emitter` - what a node, its jobs and its users emit
* `subscription` - one who listens on this node; `subscriptions` - all of them, found by what they ask for
* `replay` - from a place in the history on
* `filters` - what somebody asks for; `buffer` - events in line
"""
