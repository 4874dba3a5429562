"""What the engine costs, beside the floor: `python -m benchmarks --help`.

* `__main__` - arguments; runs every contender in a process of its own, round after round
* `contender` - one measurement, one JSON line
* `workloads` - what is measured: noop drain, sleeping jobs, round trip, many callers
* `floor` - the same scripts driven by a bare loop on the same wire, and tasks that only sleep
* `jobs` - the processors, and the process that serves them
* `scripts` - how long one script holds Redis at most, a program of its own
* `report` - medians, spread and ratios as a table

Compare within one run only: rounds are interleaved, so drift hits every contender alike.
"""
