"""What is shown to a person: one frozen record per row or answer, the same for every face.

Times are milliseconds since the epoch by the store's clock; who shows them turns them into dates.

Names, ids and texts in them are as their users chose them: who shows them escapes them. Fields are only ever
added, each with a default, as some travel between nodes, too.

* `jobs` - a job in a list, what has happened to it, and a page of such jobs
* `lives` - calls around a job, what it has changed, and how many jobs there are
* `search` - what a search has found, and how far it has looked
* `actions` - what became of an action, and what of a job is shown when it is looked at alone; `bulks` - an
action
  on many jobs
* `diagnosis` - why a job does not run, runs so long, or has ended as it has
* `findings` - what needs a person, and how the server is fit for its work
* `samples` - what happened in a queue, slot by slot, and how it goes now
* `nodes`, `tree`, `stack` - who is there, what runs there now, and the lines where it is
* `calendars` - when schedules come, in days and hours
* `preview` - what an order is about to do
* `health` - whether a node is live and ready, and why not
* `audit` - what operators have done
"""
