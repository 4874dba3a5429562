"""What everybody agrees on: errors, records, options, events, the wire format, legal transitions.

Pure data. Nothing in this room awaits, reads a clock or opens a file, so every other room may
import it and tests need no set-up.

* `errors` - what can go wrong, and what a program needs to react; `error_records` - how that travels
* `records` - what travels between engine and store, and between nodes: a page a subject, one import path
* `views` - what is shown to a person, a row a Struct
* `schedules` - schedules as a user sees them
* `ids` - what a job's id looks like, and which ids a user may choose; `segments` - in addresses
* `transitions` - which status a job may take from which; the sole authority
* `options` - those of jobs and processors; `runtime_options` - those of runtimes; `redis_options` - where
  Redis is and how to get in: documented and validated where they stand
* `retry` - how a processor says that it is to be run again; `moments` - when something is to happen
* `waits` - what can go wrong where jobs wait for signals
* `arguments` - how a call is made: names that there are not; `checks` - what a value must be; `callables` -
  what a function must be; `types` - what a state's type must be
* `as_json` - whatever a state holds, as JSON; `origins` - whether a page is of the host that it asks
* `limits` - how large what a user can size may be
* `events` - what the engine tells about itself while it runs
* `logs` - what it says to a person, and where; `telling` - what a user's objects say for themselves
* `tracing` - what is told to a tracer, where there is one
* `codec` - bytes to values and back, with a size limit and one clear error; `codecs` - how types are
  said that msgpack has no word for; `evolution` - the version of a state's form; `places` - where in a state
  something is; `integrity` - what was changed
* `forms` - what forms of states there are, written down; `form_of` - that of a type
"""
