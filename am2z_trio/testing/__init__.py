"""For tests of this engine and of what is built with it.

* `history`: record what concurrent clients asked for, and what they were answered
* `models`: what a state with versions, and a lock with fencing numbers, may answer
* `linearizability`: whether some order of a history explains every answer (Wing, Gong, Lowe)
* `certificate`: the same for versioned states in n log n, from the versions alone
* `strategies`: hypothesis strategies for histories, and ways to spoil them
* `events`: wait for what the engine tells
* `fixtures`: a runtime as a fixture of AnyIO's plugin, pytest-trio or pytest-asyncio
* `conformance`: the store contract as tests, for whoever writes a store

`strategies` needs hypothesis (the extra `test`); the rest needs nothing more.
"""
