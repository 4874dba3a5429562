"""Jobs that come by the clock.

* `plan` - what a user says of a schedule, checked, and as it is kept
* `writer` - writes plans down, those of processors that this node serves among them
* `scheduler` - the node's task that fires what is due

No node leads. Each that serves queues hears with its heartbeat's answer when the next schedule is due, and
sets a timer for that; which of them comes first does the step, and the others find it done.
"""
