"""A private Redis server that ends with its owner.

```
owner ──pipe──► watchdog (/bin/sh) ──child──► redis-server ──► socket, log
                   └─ when either ends: stops the other, removes the private directory
```

Only the owner holds the pipe's writing end. A line through it, or its end when the owner is gone
(kill -9 included), makes the watchdog stop the server; the server's own end makes the watchdog
clean up too. Rejected: `PR_SET_PDEATHSIG` (Linux only, and it follows the *thread* that forked) and
a cleanup at the interpreter's exit (kill -9 skips it).

The watchdog leads a session of its own, so a Ctrl-C at the terminal reaches the owner and not
Redis: the engine can still settle what it holds.

* `find` - which program to run, and whether it is what it should be
* `prepared` - what a server holds before and while it runs: a directory, its configuration, descriptors
* `watchdog.sh` - the process between owner and server
* `server` - starts it, waits for it, stops it

The first three never wait, so that a synchronous program, such as a test suite, can start the same server
with `subprocess.Popen`.

One limit: a process that the owner has *forked* without executing anything inherits the writing
end. If the owner is killed, the server lives on until that process ends too.
"""
