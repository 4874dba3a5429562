"""Jobs on their way out, outcomes on their way in.

* `submissions` - what callers do: submit a job, or many, and wait for what becomes of them
* `request` - what a caller says about a job; `directory` - what is known of its processor;
  `preparation` - checks all of it, and writes the job down
* `in_flight` - the jobs whose outcomes have not come yet; of these
  `waiter`, `waiters` - one job and whoever waits for it, and all of them by job;
  `outgoing` - the line of those to be sent;
  `looking` - reads the records of jobs whose outcome may have been missed, and knows the store's history into
  which jobs are sent;
  `vacancies` - whether anybody serves what is waited for, and for how long its callers wait;
  `leaving` - callers that go away, and what is taken back then
* `traced` - the same on a node that has a tracer
* `job` - what a caller gets: a result, or a handle
"""
