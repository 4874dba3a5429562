"""The seam: one port, two stores.

* `ports` - what the engine asks of a store, each method with its linearization point
* `memory` - the executable specification: plain code, no awaits, time passed in; behind the port it is
  the store of `LocalRuntime`
* `redis` - the port over Redis: one script per transition
* `agreed` - values that both stores keep to: bounds of one operation, and how long traces stay
* `lasting` - tasks of a node that have no end of their own

`am2z_trio.testing.conformance` is the contract as tests; both stores pass it.
"""
