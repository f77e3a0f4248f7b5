"""A policy that knows nothing, in every environment: what it costs, and that nothing breaks.

    qwq bench random_episodes [--episodes 1000] [--only ID ...] [--json] [--out FILE]

Plays episodes of noise, of answers, and of calls with arguments drawn from the schemas of the tools
(qwq_env/testing/random_policy.py), 64 at a time, in each registered environment with its defaults.
An exception ends that environment and is told; an episode that is lost is counted. Exit code 1 if
there is either.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run

from qwq_env import portal
from qwq_env.cards import library_ids
from qwq_env.registry import make_environment
from qwq_env.testing.random_policy import play_at_random


def main(argv: list[str]) -> int:
    """Play in all of them and print a line each."""
    parser = argparse.ArgumentParser(prog="qwq bench random_episodes", description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=library_ids(), metavar="ID")
    found = run(parser, argv, measure, table)
    return 0 if all(not each["exceptions"] and not each["lost"] for each in _each(found)) else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of each environment."""
    ids = arguments.only or library_ids()
    return {
        "episodes": arguments.episodes,
        "environments": {each: measure_one(each, arguments.episodes) for each in ids},
    }


def measure_one(environment: str, episodes: int) -> dict[str, Any]:
    """Play in one environment; the first episode, which starts what all share, is not timed."""
    env = make_environment(environment)
    exceptions: list[str] = []
    played = portal.run(play_at_random(env, 1))
    began = time.perf_counter()
    try:
        played = portal.run(play_at_random(env, episodes))
    except Exception as error:  # noqa: BLE001 - what is looked for here is any exception at all
        exceptions.append(repr(error))
    seconds = time.perf_counter() - began
    return {
        "seconds": round(seconds, 2),
        "exceptions": exceptions,
        "lost": sum(n for name, n in played.outcomes.items() if name.startswith("failed")),
        "mean_reward": round(sum(played.rewards) / max(1, len(played.rewards)), 4),
        "outcomes": dict(played.outcomes.most_common()),
    }


def _each(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(result["environments"].values())


def table(result: Mapping[str, Any]) -> str:
    """Return a line an environment."""
    lines = [f"{'environment':<24}{'seconds':>9}{'exceptions':>12}{'lost':>6}{'mean reward':>13}"]
    for name, found in result["environments"].items():
        lines.append(
            f"{name:<24}{found['seconds']:>9.2f}{len(found['exceptions']):>12}{found['lost']:>6}"
            f"{found['mean_reward']:>13.4f}"
        )
        lines += [f"  {error}" for error in found["exceptions"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
