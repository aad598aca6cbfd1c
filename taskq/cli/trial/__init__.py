"""What `taskq demo` and `taskq bench` have in common: a place of their own, and real worker processes in it.

environment  no settings of the user's, a directory, and the way out
worker       the `taskq worker` process; guard: it ends with the command that started it
durations    the middle of many, and what one in a hundred is above
"""
