"""The schedule clock: what enqueues tasks by cron expression, interval or date.

Its import name is `taskq.scheduler`. Any number of schedulers may run: they elect no leader but race on one
compare-and-set per tick, so that a schedule's fire time is enqueued at most once.
"""
