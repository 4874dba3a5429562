"""Processes in which jobs run: `@processor(run_in="process")`.

One job at a time is given to one process, which is kept for the next. The node's side decides, and the
child's does as it is told:

* `protocol` - what both say to each other: frames with a length, of messages that are decoded by their types
* `child` - the program that runs in a process: it imports the function, calls it, and says what came of it
* `context` - what the function may ask for meanwhile, by way of the node
* `whereabouts` - where the function's code is, whatever the loop in there is at
* `process` - one process as the node has it: started, talked with, stopped, reaped
* `pool` - how many there may be, and which one is next
* `runs` - a job's run in one of them, and what is made of its end

A process leads a group of its own, which is killed as a whole: when its job is stopped and it does not obey,
when its node leaves, and, by the kernel, when its node dies. It begins from nothing (no fork), so it shares
no lock, thread or connection with the node; it finds the function by importing its module.
"""
