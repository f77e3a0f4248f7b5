"""Who plays the calculator task beside us, each in an environment of its own.

- `verifiers_0.4`: its cheapest documented way, a harness whose loop and tool are in the process
  (`_official_verifiers.py loop`);
- `verifiers_0.3_ToolEnv`: its classic environment, whose tools are functions in the process. 0.3.1
  is the last version that has it;
- `verifiers_0.4_program`: what 0.4 ships, a program for each rollout that speaks MCP to a tool
  server. Fewer are played, a few at a time, once; the servers' start is taken off.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _official import environment
from _process import served
from _rounds import alternate, spread
from _sides import Cost, Side, side

WARM_UP = 64
PROGRAMS_AT_A_TIME = 2


def measure_sides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the sides take turns; return each one's cost, and over ours in the same round."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(served("_instant_model.py")) + "/v1"

        def start(python: str | Path, script: str, *words: str) -> Side:
            many = str(arguments.concurrency)
            made = stack.enter_context(side(python, script, url, many, *words))
            made.play(WARM_UP)
            return made

        sides = {"ours": start(sys.executable, "_rollout_ours.py")}
        if arguments.only != "ours":
            sides["verifiers_0.4"] = start(_verifiers(), "_official_verifiers.py", "loop")
            classic = environment("verifiers-0.3.1", ["verifiers==0.3.1"])
            sides["verifiers_0.3_ToolEnv"] = start(classic, "_official_verifiers_classic.py")
        plays = {name: partial(one.play, arguments.rollouts) for name, one in sides.items()}
        found = alternate(plays, arguments.rounds)
        if arguments.only != "ours":
            found["verifiers_0.4_program"] = [_programs(url, arguments.programs)]
    return {
        "rollouts": arguments.rollouts,
        "concurrency": arguments.concurrency,
        "rounds": arguments.rounds,
        "programs": arguments.programs,
        "programs_at_a_time": PROGRAMS_AT_A_TIME,
        "sides": {name: _summary(costs, found["ours"]) for name, costs in found.items()},
        "versions": {"verifiers": "0.4.0 and 0.3.1"},
    }


def _verifiers() -> Path:
    return environment("verifiers-0.4.0", ["verifiers==0.4.0", "uv"])


def _programs(url: str, rollouts: int) -> Cost:
    """Return what a rollout costs verifiers with a program each.

    A shorter run is taken off, for each starts the tool server anew.
    """
    words = (url, str(PROGRAMS_AT_A_TIME), "program")
    with side(_verifiers(), "_official_verifiers.py", *words) as made:
        few = PROGRAMS_AT_A_TIME
        made.play(few)
        short, long = made.play(few), made.play(few + rollouts)
    return Cost(
        *(
            (long[i] * (few + rollouts) - short[i] * few) / rollouts
            for i in range(len(Cost._fields))
        )
    )


def _summary(costs: Sequence[Cost], ours: Sequence[Cost]) -> dict[str, dict[str, float]]:
    """Return the costs, and their CPU over ours in the same round (the median of ours if none)."""
    beside = [mine.cpu for mine in ours]
    if len(costs) != len(ours):
        beside = [statistics.median(beside)] * len(costs)
    figures = {
        "cpu_ms": [cost.cpu * 1e3 for cost in costs],
        "wall_ms": [cost.wall * 1e3 for cost in costs],
        "cpu_over_ours": [cost.cpu / mine for cost, mine in zip(costs, beside, strict=True)],
    }
    return {
        name: {key: round(value, 3) for key, value in spread(values).items()}
        for name, values in figures.items()
    }
