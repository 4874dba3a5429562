"""What a user writes, and how a node knows it.

* `processor` - a named function and how it is to be run: `shape`, what it takes; `dependencies`, what comes
  along with it; `decorator`, `@processor`
* `context` - what such a function sees besides its state; `result` - how a job of one has ended
* `resources` - what such a function may be given; `factories` - made for each run; `injection` - by whom
* `registry` - those that this node runs; `snapshot` - the forms of their states, to be kept
* `compose` - processors made of processors; `plans` - what they are made of, and how that is carried out;
  `merge` - what parts side by side make of one state
"""
