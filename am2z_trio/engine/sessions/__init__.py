"""A nursery per session.

* `hosted` - one session here: the nursery of its workers, which it knows as something to run and to cancel
* `sessions` - those that are here, for how long, and how many
* `opening` - how a block holds one open; `session` - what its user has then
* `stopping` - how one ends: here, in the store, and on the other nodes
"""
