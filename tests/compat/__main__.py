"""python -m tests.compat [--only NAME ...]     (make compat)

Runs the contract tests (contracts.py) on the lowest and on the highest version of each library
that `pyproject.toml` admits and that can be installed, and on each Python that is supported, each
in an environment of its own (.venv-compat-NAME). Prints which versions that were and how it went;
the exit code is 1 if a test failed or an environment could not be made.

An environment that is there is used again until what it is made from changes. `PIP_ARGS` is handed
to pip. torch is taken where there is one without CUDA; on a Python for which there is none
(PyPI's for x86_64), the tests that need no torch are run, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from .contracts import CORE, TRAINING
from .environment import CORE_ONLY, SHOWN, Environment, NotMade

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = (
    Environment("lowest", "3.11", True, ROOT),
    Environment("highest", "3.11", False, ROOT),
    Environment("py3.12", "3.12", False, ROOT),
    Environment("py3.13", "3.13", False, ROOT),
)


@dataclass
class Outcome:
    """How it went in one environment; `why` says what was not run."""

    name: str
    versions: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    why: str = ""
    failed: bool = True


def main() -> int:
    names = [each.name for each in ENVIRONMENTS]
    parser = argparse.ArgumentParser(prog="python -m tests.compat")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these alone")
    chosen = parser.parse_args().only
    outcomes = [outcome_of(each) for each in ENVIRONMENTS if each.name in chosen]
    print(table(outcomes))
    total = {kind: sum(each.counts.get(kind, 0) for each in outcomes) for kind in KINDS}
    print(", ".join(f"{number} {kind}" for kind, number in total.items()))
    return int(any(each.failed for each in outcomes))


KINDS = ("passed", "failed", "skipped")


def outcome_of(environment: Environment) -> Outcome:
    """Run the contract tests in an environment, which is made unless it is there."""
    outcome = Outcome(environment.name)
    try:
        environment.make()
    except NotMade as error:
        outcome.why = str(error)
        return outcome
    outcome.versions = environment.versions
    paths = CORE + TRAINING if environment.torch else CORE
    outcome.why = "" if environment.torch else CORE_ONLY
    report = environment.folder / "report.xml"
    report.unlink(missing_ok=True)
    began = time.monotonic()
    print(f"{environment.name}: testing ...", flush=True)
    code = subprocess.run(
        [environment.python, "-m", "pytest", "-q", "--tb=short", "-rfE", "--processes=2",
         "-p", "no:cacheprovider", f"--junit-xml={report}", *paths],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    ).returncode  # fmt: skip
    outcome.seconds = time.monotonic() - began
    outcome.failed = code != 0
    if report.exists():
        outcome.counts = counted(report)
    return outcome


def counted(report: Path) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped, by pytest's report."""
    counts = dict.fromkeys(KINDS, 0)
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        counts["failed"] += bad
        counts["skipped"] += skipped
        counts["passed"] += int(suite.get("tests", 0)) - bad - skipped
    return counts


def table(outcomes: list[Outcome]) -> str:
    """Return the table: a line a library, a column an environment."""
    lines = [["", *(each.name for each in outcomes)]]
    for library in ("python", *SHOWN):
        lines.append([library, *(each.versions.get(library, "-") for each in outcomes)])
    for kind in KINDS:
        lines.append([kind, *(str(each.counts.get(kind, "-")) for each in outcomes)])
    lines.append(["seconds", *(f"{each.seconds:.0f}" for each in outcomes)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*rows, *(f"{each.name}: {each.why}" for each in outcomes if each.why)])


if __name__ == "__main__":
    sys.exit(main())
