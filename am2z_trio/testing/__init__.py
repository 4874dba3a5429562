"""For tests of this engine and of what is built with it.

* `history`: record what concurrent clients asked for, and what they were answered
* `models`: what a state with versions, and a lock with fencing numbers, may answer
* `linearizability`: whether some order of a history explains every answer (Wing, Gong, Lowe)
* `certificate`: the same for versioned states in n log n, from the versions alone
* `strategies`: hypothesis strategies for histories, and ways to spoil them
* `events`: wait for what the engine tells
* `fixtures`: a runtime as a fixture of AnyIO's plugin, pytest-trio or pytest-asyncio
* `contexts`: a context for a processor's code alone; `clock`: virtual time; `servers`: a private Redis
* `conformance`: the store contract as tests, for whoever writes a store

The pytest plugin (`am2z_local`, `am2z_redis`, `am2z_context`) is a module of its own, `am2z_pytest`.
`strategies` needs hypothesis (the extra `test`); the rest needs nothing more.
"""
