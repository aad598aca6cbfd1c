"""The room of the schedule clock, imported as `taskq.scheduler`. Nothing runs here yet.

What enqueues tasks by cron expression, interval or date will live here. Any number of schedulers may then run:
they elect no leader but race on one compare-and-set a tick, so that a fire time is enqueued at most once.
"""
