"""Install other task queues to be compared with, each in an environment of its own.

python -m tests.benchmarks.peers --install [NAME …]
"""

from __future__ import annotations

import argparse

from tests.benchmarks.peers.environments import PEERS, environment


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--install", nargs="*", choices=PEERS, metavar="NAME", required=True)
    options = parser.parse_args()
    for name in options.install or PEERS:
        print(f"{name}: {environment(name)}")


if __name__ == "__main__":
    main()
