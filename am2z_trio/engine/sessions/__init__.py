"""A nursery per session.

* `hosted` - the sessions that are here
* `stopping` - how one ends: here, in the store, and on the other nodes
"""
