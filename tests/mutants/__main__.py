"""python -m tests.mutants [--jobs 2] [--only ID ...]

Puts each listed fault into a copy of the tree and runs the tests named for it. A fault with which
they pass has survived: then a test is missing, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .fault import faults
from .runner import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time (default: 2)")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these alone")
    arguments = parser.parse_args()
    chosen = [fault for fault in faults() if not arguments.only or fault.id in arguments.only]
    unknown = set(arguments.only or ()) - {fault.id for fault in chosen}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return run(Path.cwd(), chosen, arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
