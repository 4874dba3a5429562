"""For tests: of this package, and of stores and processors of your own.

```python
recorder: Recorder[VersionedCall, VersionedResult] = Recorder()

async def add(client: str, session: str) -> None:
    with recorder.call(client, session, Update(Add(1))) as op:
        version, value = await my_store.add(session, 1)   # an exception: the outcome is unknown
        op.returned(Updated(version, value))
...
check(recorder.history(), VersionedState()).assert_ok()
```

```
clients ──► Recorder ──► history ──► certify      L0  O(n log n), for answers that carry versions
   │                        │──────► check        L1  a search with a budget, for any model
   ▼                        └──────► brute_force  L2  all orders of up to six operations
FaultProxy ──► store
```

* `history` - operations, the recorder, several processes' histories in one
* `models` - what an object does one operation at a time: `VersionedState`, `LockedState`, `Model`
* `linearizability` - is there a legal order: `check`, `brute_force`, `Verdict`
* `certificate` - the versions tell the order: `certify`
* `faults` - a proxy before Redis that loses, holds and cuts on demand
* `conformance` - the contract of a store as cases to run

Each checker is judged by the next one in this package's own tests. A checker that answers `unknown` has not
shown anything, and its verdict is not ok.

Nothing is imported here: each of these has its own needs.
"""
