"""`qwq check MODULE:THING`: the conformance kit without a test."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.testing.conformance import Finding
from qwq_env.testing.find import find
from qwq_env.text.characters import printable


def add_parser(checks: Any) -> None:
    """Add `qwq check thing`, which `qwq check MODULE:THING` is short for."""
    parser = checks.add_parser(
        "thing",
        help="MODULE:THING: hold your environment, tool, dialect or grader against the kit",
        description="Looks at what MODULE:THING is (an environment's id or class, a tool, a tool"
        " set, a list of tools, a dialect, a rubric or a reward function; modules of the current"
        " folder are found) and runs the checks of qwq_env.testing on it, each told with what is to"
        " be mended. Tools are called with arguments drawn at random: give some that may be called"
        " so. Example: qwq check bank:Bank",
    )
    parser.add_argument("thing", metavar="MODULE:THING")
    parser.add_argument("--tasks", type=Path, help="JSONL: for a grader or a tool")
    parser.add_argument("--only", metavar="WORD", help="only checks whose names hold this word")
    parser.add_argument(
        "--not-deterministic",
        action="store_true",
        help="what reads the clock or the network is not asked to answer the same twice",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a check, and below it what is to be mended. Exit code 1 if one fails."""
    kind, checks = find(arguments.thing, arguments.tasks)
    if arguments.not_deterministic:
        type(checks).deterministic = False  # type: ignore[attr-defined]
    word = (arguments.only or "").replace(" ", "_")
    if not (names := [name for name in checks.checks() if word in name]):
        known = ", ".join(map(_said, checks.checks()))
        raise UsageError(f"only: no check is named {arguments.only!r}; there are: {known}")
    found = []
    if not arguments.json:
        print(printable(f"{arguments.thing} is {kind}; {len(names)} checks", lines=False))
    for finding in checks.findings(names):
        found.append(finding)
        if not arguments.json:
            _print(finding)
    failed = [finding for finding in found if finding.fault]
    if arguments.json:
        told = [{"check": _said(each.check), "fault": each.fault} for each in found]
        print(json.dumps({"thing": arguments.thing, "kind": kind, "sound": not failed,
                          "checks": told}))  # fmt: skip
    else:
        print(f"{len(failed)} of {len(found)} failed" if failed else "all hold")
    return 1 if failed else 0


def _print(finding: Finding) -> None:
    print(f"{'FAIL' if finding.fault else 'ok':5} {_said(finding.check)}", flush=True)
    if finding.fault:
        print(f"      {finding.fault}", flush=True)


def _said(check: str) -> str:
    return check.removeprefix("test_").replace("_", " ")
