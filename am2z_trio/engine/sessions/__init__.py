"""A nursery per session.

* `hosted` - one session here, and what runs in it
* `sessions` - those that are here
* `opening` - how a block holds one open; `session` - what its user has then
* `stopping` - how one ends: here, in the store, and on the other nodes
"""
