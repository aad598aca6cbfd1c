"""Tasks with `isolate="process"`: each run in a process of its own, forked where the app is imported already.

```text
worker process                              fork server                    a fork, one a run
 ├─ IsolatedRunner (runner.py)  ── asks ──►  ForkServer (server.py)  ─fork─►  fork.py
 │    a thread for each run                   one thread, no connection        runs the task, tells its verdict
 └─ Forks (forks.py)           ◄── ends ──    waits, interrupts, kills
        └───────────── the line: order ─►  ◄─ words (wire.py) ─────────────────┘
```

The worker process forks the server once, after the import of the app and before it has a thread or a connection. The
server never has either, so it can fork the runs at any time. It keeps their time, too: a run is killed at its timeout
whatever holds up the worker process. Who dies takes along who stands right of it: the server sees the end of its
socket, and each fork is on a leash (kernel.py), by which the kernel kills it when the worker process is gone.
"""
