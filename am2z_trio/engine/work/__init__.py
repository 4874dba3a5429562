"""One queue worked off.

* `worker` - claims jobs for free slots, and runs them there or in their session
* `services` - what all workers of a node share
* `claims` - every job that this node holds
* `settler` - settlements on their way to the store
* `hogs` - sees jobs that keep the event loop to themselves
"""
