"""python -m tests.mutants [--jobs 2] [--only ID ...]

Puts each listed fault into a copy of the tree and runs the tests named for it. A fault with which
they pass has survived: then a test is missing, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from itertools import chain
from pathlib import Path

from .fault import faults
from .runner import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time (default: 2)")
    parser.add_argument(
        "--only", nargs="+", metavar="ID", default=["*"], help="these alone, such as 'grading/*'"
    )
    arguments = parser.parse_args()
    known = {fault.id: fault for fault in faults()}
    found = [fnmatch.filter(known, pattern) for pattern in arguments.only]
    if not all(found):
        parser.error(f"no such fault: {arguments.only[found.index([])]}; those there are: *.yaml")
    chosen = [known[name] for name in dict.fromkeys(chain(*found))]
    return run(Path.cwd(), chosen, arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
