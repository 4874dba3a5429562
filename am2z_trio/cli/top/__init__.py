"""What `am2z top` shows, and how.

* `rows` - queues, as they are listed
* `nodes` - nodes, as they are listed
* `looking` - one look at a namespace: queues, nodes and findings
* `columns` - tables that fit a width
* `screen` - what a person has chosen by keys
* `wishes` - what may be wished by a key, and how it is asked whether it is meant
* `acting` - does it
* `scopes` - what runs, as lines
* `drawing` - a look as lines of a terminal, and as plain text
* `keys` - bytes of a terminal to keys
* `terminal` - a terminal that is drawn upon, and given back as it was
* `live` - looks and keys, again and again
"""

from __future__ import annotations
