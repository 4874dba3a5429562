"""The public face.

* `runtime` - everything that a caller may ask for; `local` and `queue` put a store under it
* `workers`, `connection`, `dead_letters`, `state_managers` - its parts, by the names they have there
"""
