"""The public face.

* `runtime` - everything that a caller may ask for; `local` and `queue` put a store under it
* `life` - entered, running, stopped; above it a page each for what may be done with `processors`, `jobs`,
  `sessions` and `events`, for the figures (`stats`), for when all is done (`drain`), and for why a job does
  not run (`explain`)
* `from_thread` - the same for other threads, each call blocking
* `workers`, `connection`, `control`, `dead_letters`, `schedules`, `state_managers` - its parts, by their
  names there; `previews` - what an order would do
* `stored_states` - whether the program can read what is stored
"""
