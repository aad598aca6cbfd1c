"""The read side: what the command line and a dashboard show, and the few things they do.

    queues      every queue: what waits, what runs, who serves it
    listing     tasks by state, read from `places`: lists, agenda, what processes hold, dead letters
    detail      one task, with its arguments and its outcome
    dead        dead letters: requeue, discard
    processes   worker processes and the tasks that they know
    operations  pause, resume, purge, cancel
    doctor      what is wrong, by `server_checks`, `namespace_checks` and `orphans`

All is written as generators of commands: `Broker.run` and `Broker.arun` send them. Nothing here trusts what
the server keeps: bytes that fit nowhere come out as `unreadable`, and no scan is longer than its `Budget`.
"""
