"""Fuzzers over everything that reads bytes which came from Redis, or words which came from people.

`python -m tests.fuzz` runs them all; docs/contributing.md says how, and what counts as a finding.
"""
