"""The main job under three seeds, and its control: the same with rewards drawn by lot.

    qwq bench learning [--seeds 0 1 2] [--runs DIR] [--json] [--out FILE]

Each is `qwq train recipes/tiny.yaml` in a process of its own. What rises under random rewards was
not learned from outcomes; `accuracy_trained` of the control must not be above its `accuracy_cold`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEYS = (
    "accuracy_cold", "accuracy_trained", "accuracy_trained_greedy", "tool_call_rate_cold",
    "tool_call_rate_trained", "steps", "seconds",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Run all of them, one after the other; exit code 1 if one falls short of the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or Path(folder)
        results = {f"seed {seed}": train(runs, f"seed{seed}", seed) for seed in arguments.seeds}
        results["control, seed 0"] = train(runs, "control", 0, "grpo.reward=random")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(results))
    else:
        for name, result in results.items():
            shown = "  ".join(f"{key} {result[key]:.3f}" for key in KEYS[:5])
            print(f"{name:<16} {shown}  {result['wall_s']:.0f} s")
    return 0 if all(holds(name, result) for name, result in results.items()) else 1


def train(runs: Path, name: str, seed: int, *overrides: str) -> dict[str, Any]:
    """Run the recipe and return what its summary says, and the wall time of the process."""
    command = [
        sys.executable, "-m", "qwq_env.training", "recipes/tiny.yaml", f"name={name}",
        *overrides, "--seed", str(seed), "--runs", str(runs),
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((runs / name / "summary.json").read_text())
    kept = {key: summary[key] for key in KEYS}
    return {**kept, "wall_s": round(time.perf_counter() - start, 1)}


def holds(name: str, result: dict[str, Any]) -> bool:
    """Say whether a run does what the README says of it."""
    if name.startswith("control"):
        return bool(result["accuracy_trained"] <= result["accuracy_cold"] + 0.05)
    return bool(result["accuracy_cold"] <= 0.35 and result["accuracy_trained"] >= 0.9)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
