"""`python -m taskq`: the command line."""

from taskq.cli import main

main()
