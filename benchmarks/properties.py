"""qwq bench properties [--examples N] [--json] [--out FILE]

The tests that draw their examples, with many more of them than the suite has time for. `failed`
names those that found a counterexample; returns 1 if there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run

ROOT = Path(__file__).resolve().parents[1]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the tests once."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-m", "hypothesis", "--processes", "2"]
    many = {**os.environ, "QWQ_EXAMPLES": str(arguments.examples), "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=many, stdout=subprocess.PIPE, text=True, check=False
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    if passed is None:
        raise SystemExit(done.stdout[-2000:])
    return {
        "examples": arguments.examples,
        "passed": int(passed[1]),
        "failed": re.findall(r"^(?:FAILED|ERROR) (.*)$", done.stdout, re.MULTILINE),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(argv: list[str]) -> int:
    """Run them; exit code 1 if one fails."""
    parser = argparse.ArgumentParser(prog="qwq bench properties", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="a test (default: 1000)")
    return int(bool(run(parser, argv, measure)["failed"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
