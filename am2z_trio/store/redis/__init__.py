"""The store on Redis: every operation is one script, or one command.

* `store` - which script for which call
* `logs` - what jobs have logged, on the same link
* `silences` - findings that are silenced
* `schedules` - what runs again and again
* `inspection` - what an operator asks; with it `facts`, what decides whether a job is granted next
* `states` - session states and locks, on the same link; `samples` - what nodes have counted
* `listing` - jobs in lists, as the scripts pack them
* `chronicle` - what is written down of what happened
* `link` - one node's connections, what arrives, and the thread that keeps its lease
* `checks` - what a server is asked before a node runs on it
* `arguments`, `rows` - records to what scripts take, and what they answer to records
* `scripts`, `lua/` - the scripts, each with KEYS, ARGV, RETURNS and the invariant it keeps; in folders by
  subject, as `store/memory/` is
  * `lua/steps/` - what they share, a concept each; `spoilt.lua` among it is in front of all: what something
    else has written into our keys aborts no script
* `signature` - what a script is sent, the same where it is listed and where Lua reads it
* `agreed` - values that both languages agree on, declared once and told to the scripts
* `bundle` - puts a script together, and a library of functions for servers that make them once
* `keys` - the only place where a key is spelled
* `access` - what a user of Redis must be allowed
* `witness` - what a node knows of the server's clock, and what counts where that is set
* `lease` - a thread that keeps a node's lease while its event loop lives
"""
