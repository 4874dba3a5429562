"""Decisions without I/O: clock and randomness are passed in, a value comes out.

* `retry`, `breaker`, `prefetch`
* `cron` - when a schedule comes; `cron_text` - what may be written there; `zones` - time zones, in seconds
* `schedules` - what a schedule does when its time has come
* `compatibility` - whether states of one program can be read by another
"""
