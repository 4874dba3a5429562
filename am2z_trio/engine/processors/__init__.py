"""What a user writes, and how a node knows it.

* `processor` - a named function and how it is to be run; `registry` - those that this node runs
* `context` - what such a function sees besides its state
* `compose`, `merge` - processors made of processors
"""
