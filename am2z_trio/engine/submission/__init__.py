"""Jobs on their way out, outcomes on their way in.

* `submissions` - checks a job and writes it down, then waits for its outcome
* `results` - sends what gathers, and keeps who waits for what
* `vacancies` - whether anybody serves what is waited for, and for how long its callers wait
* `job` - what a caller gets: a result, or a handle
"""
