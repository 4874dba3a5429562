"""The seam: one port, two stores.

* `ports` - what the engine asks of a store, each method with its linearization point
* `memory` - the executable specification: plain code, no awaits, time passed in; behind the port it is
  the store of `LocalRuntime`
* `redis` - the port over Redis: one script per transition
  * `arguments`, `rows` - records to what scripts take, and what they answer to records
* `scripts`, `lua/` - the scripts, each with KEYS, ARGV, RETURNS and the invariant it keeps
  * `lua/steps/` - what they share, a concept each; `spoilt.lua` among it is in front of all: what something
    else has written into our keys aborts no script
* `bundle` - puts a script together, and a library of functions for servers that make them once
* `keys` - the only place where a key is spelled
* `witness` - what a node knows of the server's clock, and what counts where that is set
* `lasting` - tasks of a node that have no end of their own
* `lease` - a thread that keeps a node's lease while its event loop lives

`am2z_trio.testing.conformance` is the contract as tests; both stores pass it.
"""
