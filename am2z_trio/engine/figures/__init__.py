"""What a node counts, and what it shows of itself: for metrics, charts and whoever asks.

* `counting` - one processor's jobs: outcomes, waiting and running times
* `figures` - all of a runtime's, for as long as the object lives: entered again, it goes on counting
* `reading` - what is so at one moment, taken with every beat

Counted in the node's loop, by one addition where it happens; read by any thread. There is one set of figures
per processor that is registered here, and none for anything that a job brings: no id, no session.
"""
