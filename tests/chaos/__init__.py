"""The torture suite: real servers and workers, one misfortune at a time, and a ledger that they do not see.

    python -m tests.chaos --tier quick             all of the quick tier, each scenario with its control
    python -m tests.chaos --only T01 --seed 7      one, with a seed: the faults are drawn from it
    python -m tests.chaos --list

How a run goes (`runner.py`): a `Stage` starts a server in a folder of its own; the scenario's `play` starts hosts (each
a `taskq worker` command) and producers, and does the damage; the rig waits until all work is done or nothing has moved
for 6 s, stops the workers, and gathers ledger and records; the checker (`checker.py`, pure functions) judges them, then
the scenario's own `judge`. The same again, broken by the scenario's control, must show what the scenario is about.

| file | has |
| --- | --- |
| `ledger.py` | the lines that tasks, producers and scenarios write: accept, start, end, commit, kill, … |
| `checker.py` | verdicts on them: lost, unexpected, overlap, double, stale, early, changed, unbalanced, residue |
| `stage.py` | what a scenario may use: hosts, producers, proxies, kills, pauses, random times |
| `app.py` | the tasks that are tortured |
| `producer.py` · `storm.py` · `sending.py` | a program that enqueues them · one that has keys, and cancels · how |
| `watch.py` | looks at records through the run · `lag.py` at the machine: a run that it disturbed is repeated |
| `shims/` | a clock that is wrong, an fsync that is slow, by LD_PRELOAD · `tests/proxy.py` connections that break |
| `broken.py` · `controls/` · `patching.py` | starts `taskq` broken in one way · the ways · what they are made with |
| `scenario.py` · `scenarios/` | what a scenario is · all there are, by subject |
| `rows.py` · `page.py` | lines and JSON · the table of docs/torture.md |

To add a scenario, write a class into a file of `scenarios/` by its subject, a new one if there is none:

    class ServerStopped(Scenario):
        '''T05: what happens, what must hold, and why that is what may be asked.'''

        id = "T05"
        fault = "SIGSTOP of the server for 10 s"       # a line of the table
        seconds = 16.0                                 # of torture at scale 1; CI has half of it
        control = "reap_by_lease"                      # controls/reap_by_lease.py
        shows = ("repeats",)                           # kinds of complaint, one of which the control must bring up

        def play(self, stage: Stage) -> None:
            stage.steady()                             # 2 hosts × 2 processes × 4 slots, 2 producers, 300 tasks/s
            with stage.server.frozen():
                time.sleep(stage.seconds / 2)
            stage.note("back", "server")               # the checker measures how soon a task starts after that
            time.sleep(stage.seconds / 2)

        def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
            if found.duplicates > 16:
                yield Complaint("repeats", f"{found.duplicates} starts were repeated")

`found` (`checker.Findings`) has what the checker made of the run; complaints of its own are made in every run, unless
`tolerates` names their kind. A scenario that could pass without anything having gone wrong has to complain `idle` then.
Other tasks go to `app.py`, written with `noted()`; another server comes from overriding `server`:
`RedisServer("valkey", folder, "--appendfsync", "always", environ=environ_of(Shim("fsync", folder.parent)))`.

A control is a module with `apply()`: taskq's code replaced, or its scripts altered, by `patching.py`. It is in force in
each `taskq worker` and each producer of the run, not in the rig. It breaks one thing, the one that the scenario is
about, as another queue has it broken. `if stage.control:` is for those that break the server's settings instead.

An altered script has another SHA; a proxy knows it by its name all the same if the changes stand in `CHANGES`.

See that it works: `--only T05 --scale 0.5`, a few times, with others on the machine. Then CI has it.
"""
