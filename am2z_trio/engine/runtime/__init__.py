"""The public face.

* `runtime` - everything that a caller may ask for; `local` and `queue` put a store under it
* `life` - entered, running, stopped; above it a page each for what may be done with `processors`, `jobs`,
  `sessions` and `events`, and for the figures (`stats`)
* `workers`, `connection`, `dead_letters`, `state_managers` - its parts, by the names they have there
"""
