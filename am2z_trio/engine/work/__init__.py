"""One queue worked off.

* `feeder` - claims a queue's jobs, of whatever sessions: a service of the node, and part of none
* `delivery` - hands what was claimed to the worker of its session; `places` - for how many there is room
* `worker` - a processor in a session, as a task of the session's nursery; `slots` - its tasks, which run jobs
* `newer` - jobs that are left to the nodes of a newer program
* `services` - what all of them share
* `claims` - every job that this node holds
* `settler` - settlements on their way to the store
* `traced` - the settlements of a node that has a tracer
* `blocked` - where they were seen, and when that is told
* `hogs` - sees jobs that keep the event loop to themselves
"""
