"""The JSON API, `/api/v1`: every question and every action of `Admin`, for programs.

* `routes` - what a route is: a method of `Admin` under a verb and a path, and the permission that it takes
* `table` - all of them
* `asked` - what a request says, as the method's arguments: one Struct per method, made from its signature
* `shown` - what is answered, as JSON: objects with all their fields
* `faults` - what went wrong: `{code, message, field, rule}`, and the status that goes with it
* `openapi` - the document that describes all this, made from the same table
* `answering` - a request in, a reply out: no server in it
* `serving` - the same within the console's application: who asks, how much may be sent, and the live events

No rule is here: what may be asked, by whom and in which bounds is said by `Admin` alone.
"""
