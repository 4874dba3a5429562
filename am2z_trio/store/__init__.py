"""The seam: one port, two stores.

* `ports` - what the engine asks of a store, each method with its linearization point
* `memory` - the executable specification: plain code, no awaits, time passed in; behind the port it is
  the store of `LocalRuntime`
* `redis` - the port over Redis: one script per transition
* `scripts`, `lua/` - the scripts, each with KEYS, ARGV, RETURNS and the invariant it keeps
  * `spoilt.lua` - in front of each: what something else has written into our keys aborts no script
* `keys` - the only place where a key is spelled
* `witness` - what a node knows of the server's clock, and what counts where that is set
* `lasting` - tasks of a node that have no end of their own
* `lease` - a thread that keeps a node's lease while its event loop lives

`am2z_trio.testing.conformance` is the contract as tests; both stores pass it.
"""
