"""qwq bench sandbox_hostile [--programs FOLDER] [--json] [--out FILE]

The hostile programs of `tests/sandbox/hostile/` in every way to isolate that this kernel offers: as
root with and without a control group and, where this is root, as an ordinary user. `failures` names
the program that did what it must not; returns 1 if there is one. `--programs` runs those of another
folder, with numpy and sympy loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests" / "sandbox"))

from _result import run
from batteries import OWN, run_battery
from kernel import lacking

from qwq_env.sandbox.levels import plans


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the programs once a way."""
    folder = arguments.programs or OWN
    preload = ["--preload"] if arguments.programs else []
    ways = {"": {}, ", control group": {"cgroup": "auto"}, ", ordinary user": {"nobody": True}}
    if os.geteuid() != 0:
        del ways[", ordinary user"]
    found: dict[str, Any] = {"failures": {}, "seconds": {}}
    for plan in plans():
        if plan.level == "D" or lacking(plan):
            continue
        for way, how in ways.items():
            name = "-".join(plan.layers)
            words = ["--plan", name, "--cgroup", str(how.get("cgroup", "off")), *preload]
            began = time.perf_counter()
            failures = run_battery(folder, *words, nobody="nobody" in how)
            found["failures"] |= {f"{one}: {name}{way}": what for one, what in failures.items()}
            found["seconds"][f"{name}{way}"] = round(time.perf_counter() - began, 1)
    return found


def main(argv: list[str]) -> int:
    """Run them; exit code 1 if anything gets out."""
    parser = argparse.ArgumentParser(prog="qwq bench sandbox_hostile", description=__doc__)
    parser.add_argument("--programs", type=Path, help="a folder of programs with a manifest.json")
    return int(bool(run(parser, argv, measure)["failures"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
