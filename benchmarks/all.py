"""Run every benchmark and write its result beside it.

    python benchmarks/all.py [--only NAME ...]

`real_model` is left out unless it is named, for it takes an hour and weights of its own (`make
train-real`), and so are `two_stages` (an hour and a half) and `gpu`, which wants one. Each runs in
a process of its own, one after the other: they share two cores with nothing else then. One that
fails is named at the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEFT_OUT = ("gpu", "kills", "many_ranks", "numerics", "real_model", "two_stages")


def main(argv: list[str]) -> int:
    """Run the benchmarks asked for, all of them by default."""
    names = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    names.remove("all")
    default = [name for name in names if name not in LEFT_OUT]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=default)
    arguments = parser.parse_args(argv)
    failed = []
    for name in arguments.only:
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        result = HERE / "results" / f"{name}.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(result)]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            failed.append(name)
        print(f"   {time.perf_counter() - start:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
