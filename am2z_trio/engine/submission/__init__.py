"""Jobs on their way out, outcomes on their way in.

* `submissions` - checks a job and writes it down, then waits for its outcome
* `in_flight` - the jobs whose outcomes have not come yet; of these
  `waiter`, `waiters` - one job and whoever waits for it, and all of them by job;
  `outgoing` - the line of those to be sent, `history` - which of the store's histories they are sent into;
  `looking` - reads the records of jobs whose outcome may have been missed;
  `vacancies` - whether anybody serves what is waited for, and for how long its callers wait;
  `leaving` - callers that go away, and what is taken back then
* `job` - what a caller gets: a result, or a handle
"""
