"""What tests of several rooms share, each thing in the module of its concept.

* `servers` - private Redis servers, to be killed, paused, restarted or configured
* `waiting` - for a condition, in a task or in a thread
* `gates` - a processor whose jobs run until they may end, and what became of its runs
* `blocking` - a store on Redis without an event loop, one call after the other

Fixtures are in the `conftest` of the room that needs them.
"""
