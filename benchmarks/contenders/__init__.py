"""Who is measured, and what each of them runs.

* `contender` - what the harness knows of one: what is installed, how it is started, its settings
* `field` - all of them, in the order in which they are shown
* `driver` - the client's side of every Python contender: enqueues and waits, and says how long it took
* `tally` - the worker's side: how many jobs have run, and when the first one began and the last one ended
* one folder for each: its `CONTENDER`, what is installed, its worker and its client

A worker and a client run in their contender's own environment, which has neither `am2z_trio` nor anything of
the harness's: `driver`, `tally`, `contender` and what they import are the standard library's alone.
"""
