"""How fast the engine is beside its peers and beside the floor: `python -m benchmarks --help`.

What one run does, from the top:

* `__main__` - which program is meant; `arguments` - what the comparison is told
* `compare` - who, what and in which order; keeps what was found after every step
* `measures` - the table of what is measured; `targets` - the ratios that are to be reached
* `stage` - one contender on one empty server: fills its queue, starts its workers, watches them
* `processes`, `environments`, `server`, `machine` - what that stands on
* `contenders` - who is measured, each with its worker, its client, its versions and its settings; ours are
  `jobs`, and `floor` is the bare loop
* `results` - the record, as JSON; `page` and `plot` are made of it

Beside it, programs of their own: `scripts` (how long one script holds Redis at most), `sessions`, `states`,
`compositions`, `looking` (pages and searches over millions of jobs), `viewing` (the console before them),
`cancelling` (from a click in the console to a job's end); `filling` makes the jobs of `looking` and
`viewing`. Compare within one run only: its rounds are interleaved, so drift hits every contender alike.
"""
