"""One policy trained by one process, and by several: are the curves the same?

    qwq bench many_ranks [--only lora disk ...] [--steps 20] [--runs DIR] [--json] [--out FILE]

The tiny recipe with the calculator, in short, always from the same cold start. `weights`: all of
them are trained, and sampled in each process; `lora`: adapters in their place. One process under
three seeds, then 2 and 4 gloo ranks (DDP). `disk` and `adapter`: the same two, sampled by a real
vLLM on this CPU (`.venv-vllm`, see `make test`) that gets whole weights or adapters before each
step; one process, DDP, and FSDP2 on 2 and 4 ranks; ZeRO-3 on 2, where DeepSpeed is installed
(`DS_ACCELERATOR=cpu pip install --no-build-isolation deepspeed`).

Where each process samples, the first batch of any number of ranks must be that of one process:
ids, masks and rewards the same, log-probabilities to 1e-4. Then float arithmetic lets them drift
apart (`equal_steps` is for how long they do not). For the rest, a curve's mean reward must lie
where a fourth seed of one process would in 19 of 20 cases: within 4.97 standard deviations of the
mean of the three (Student's t, 2 degrees of freedom). Servers are held against those of `weights`
and `lora`.

With `--runs` the folders are kept, and what has ended there is not run again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write
from ranks import run_ranks

from qwq_env.rollout.store import read_episodes
from qwq_env.training.report import played_rows, read_metrics
from qwq_env.trajectory import Trajectory

ROOT = Path(__file__).resolve().parents[1]
VLLM = ROOT / ".venv-vllm" / "bin" / "python"
CONTEXT, DEADLINE = 512, 600.0
FIRST = "1 process, seed 0"
NOISE = 4.303 * (1 + 1 / 3) ** 0.5
RECIPE = (
    "environment.tools=[calculator]", "policy.heads=2", "policy.key_value_heads=1",
    "grpo.episodes=64", f"grpo.context={CONTEXT}", "grpo.learning_rate=0.001",
    "grpo.schedule=constant", "grpo.save_steps=1000", "evaluation.tasks=96",
    "evaluation.samples=0",
)  # fmt: skip
LORA = ("policy.lora.rank=8", "policy.lora.alpha=16", "grpo.learning_rate=0.003")
FAMILIES = {"weights": (), "lora": LORA, "disk": (), "adapter": LORA}


class Case(NamedTuple):
    """One run: so many ranks, how the model lies on them, and the seed."""

    ranks: int
    strategy: str = "ddp"
    seed: int = 0

    @property
    def name(self) -> str:
        """What the table calls it."""
        if self.ranks == 1:
            return f"1 process, seed {self.seed}"
        return f"{self.strategy}, {self.ranks} ranks"


IN_PROCESS = (Case(1), Case(1, seed=1), Case(1, seed=2), Case(2), Case(4))
SERVED = (
    Case(1), Case(2), Case(4), Case(2, "fsdp2"), Case(4, "fsdp2"),
    *([Case(2, "zero3")] if importlib.util.find_spec("deepspeed") else []),
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Run the cases; 1 if one failed, or is not what one process comes to."""
    parser = argparse.ArgumentParser(prog="qwq bench many_ranks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cold", type=int, default=250, help="supervised steps before them")
    parser.add_argument("--runs", type=Path, help="where the runs' folders are kept")
    result = run(parser, argv, measure, table)
    return int(
        any(not row["right"] for family in result["runs"].values() for row in family.values())
    )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every case that has not ended in the folder of runs, and compare."""
    result: dict[str, Any] = {"steps": arguments.steps, "runs": {}, "minutes": 0.0}
    began = time.perf_counter()
    with ExitStack() as stack:
        runs = arguments.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cold = cold_start(runs.resolve(), arguments.cold)
        servers = None
        for family in arguments.only:
            if family in ("disk", "adapter") and servers is None:
                from qwq_env.rollout.vllm_local import cpu_servers

                servers = stack.enter_context(cpu_servers(VLLM))
            rows = result["runs"].setdefault(family, {})
            for case in SERVED if servers else IN_PROCESS:
                place = runs.resolve() / f"{family}-{case.name}".replace(", ", "-").replace(" ", "")
                asked = (*RECIPE, *FAMILIES[family], f"grpo.steps={arguments.steps}")
                failure = played(place, case, cold, asked, family, servers)
                rows[case.name] = (
                    {"failure": failure, "right": False} if failure else figures(place)
                )
                compare(result["runs"], family, case, runs.resolve())
                result["minutes"] = round((time.perf_counter() - began) / 60, 1)
                write(result, arguments)
    return result


def cold_start(runs: Path, steps: int) -> Path:
    """Return the folder of the policy that all of them start from; made once."""
    place = runs / "cold"
    if not (place / "summary.json").exists():
        shutil.rmtree(place, ignore_errors=True)
        asked = [
            *RECIPE, f"cold_start.steps={steps}", "grpo.steps=1",
            "cold_start.teacher={guess: 0.4, call: 0.5, slip: 0.1}", "evaluation.tasks=8",
        ]  # fmt: skip
        failure = start(Case(1), place, asked)
        assert not failure, failure
    return place / "cold"


def played(
    place: Path, case: Case, cold: Path, asked: tuple[str, ...], family: str, servers: Any
) -> str:
    """Run a case in its folder, unless it has ended there; return what went wrong."""
    if (place / "summary.json").exists():
        return ""
    shutil.rmtree(place, ignore_errors=True)
    given = [*asked, f"policy.checkpoint={cold}", "cold_start.steps=0", f"seed={case.seed}"]
    if servers is None:
        return start(case, place, given)
    served = place.with_name(f"served-{place.name}")
    shutil.rmtree(served, ignore_errors=True)
    prepare(cold, served)
    through = served if family == "disk" else served.with_name(f"through-{place.name}")
    rank = None if family == "disk" else 8
    with servers.serve(served, context=CONTEXT, lora_rank=rank) as url:
        given += [
            "policy.sampler=vllm", f"policy.weights={family}", f"policy.servers=[{url}]",
            f"policy.served={through}",
        ]  # fmt: skip
        failure = start(case, place, given)
    for folder in (served, through):
        shutil.rmtree(folder, ignore_errors=True)
    return failure


def prepare(cold: Path, served: Path) -> None:
    """Write the folder that a server is started on."""
    from qwq_env.rollout.checkpoint import load_checkpoint
    from qwq_env.training.weights.disk import prepare_served

    prepare_served(*load_checkpoint(str(cold)), served)


def start(case: Case, place: Path, overrides: list[str]) -> str:
    """Run the recipe on the case's ranks; return what went wrong, empty if nothing did."""
    given = [*overrides, f"name={place.name}"]
    arguments = ("tiny", case.strategy, given, str(place.parent), False)
    found = run_ranks("_many_rank", case.ranks, arguments, DEADLINE)
    return found if isinstance(found, str) else ""


def figures(place: Path) -> dict[str, Any]:
    """Return what is told of a run."""
    summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    rows = played_rows(read_metrics(place / "metrics.jsonl"))
    return {
        "mean_reward": round(statistics.fmean(row["reward"] for row in rows), 4),
        "accuracy_cold": summary["accuracy_cold"],
        "accuracy": summary["accuracy_trained"],
        "greedy": summary["accuracy_trained_greedy"],
        "lost": summary["episodes_lost"],
        "minutes": round(sum(summary["seconds"].values()) / 60, 2),
        "reward_by_step": [round(row["reward"], 4) for row in rows],
    }


def compare(runs: Mapping[str, Any], family: str, case: Case, folder: Path) -> None:
    """Say of a run whether it is what one process comes to, and where it is exactly that."""
    row = runs[family][case.name]
    if "failure" in row:
        return
    alone = runs.get({"disk": "weights", "adapter": "lora"}.get(family, family), {})
    curves = [alone[one.name]["mean_reward"] for one in IN_PROCESS[:3] if one.name in alone]
    if len(curves) == 3:
        middle, spread = statistics.fmean(curves), statistics.stdev(curves)
        # Three that are alike by chance are no measure.
        row["deviations"] = round((row["mean_reward"] - middle) / max(spread, 1e-3), 2)
    row["right"] = abs(row.get("deviations", 0.0)) <= NOISE
    if family in ("weights", "lora") and case.ranks > 1:
        names = ("1process-seed0", f"ddp-{case.ranks}ranks")
        one, several = (folder / f"{family}-{name}" for name in names)
        row["first_batch"] = differences(first_batch(one, 1), first_batch(several, case.ranks))
        row["equal_steps"] = equal_steps(alone[FIRST]["reward_by_step"], row["reward_by_step"])
        row["right"] = row["right"] and not row["first_batch"]


def first_batch(place: Path, ranks: int) -> dict[tuple[str, int], Trajectory]:
    """Return the episodes of the first step of all ranks, by task and seed."""
    found = {}
    for rank in range(ranks):
        name = "episodes.jsonl" if rank == 0 else f"episodes-rank{rank}.jsonl"
        for episode in read_episodes(place / name, phase="grpo", step=1):
            found[episode.task_id, episode.seed] = episode
    return found


def differences(
    one: Mapping[tuple[str, int], Trajectory], several: Mapping[tuple[str, int], Trajectory]
) -> list[str]:
    """Return what is not equal in two batches, by name."""
    if one.keys() != several.keys():
        return [f"{len(one.keys() ^ several.keys())} of {len(one)} tasks or seeds"]
    pairs = [(one[key], several[key]) for key in one]
    wrong = {
        "ids": any(a.ids != b.ids for a, b in pairs),
        "masks": any(a.mask != b.mask for a, b in pairs),
        "rewards": any(a.reward != b.reward for a, b in pairs),
        "log-probabilities": any(
            abs(x - y) > 1e-4
            for a, b in pairs
            for x, y in zip(a.logprobs, b.logprobs, strict=False)
        ),
    }
    return [name for name, differs in wrong.items() if differs]


def equal_steps(one: list[float], other: list[float]) -> int:
    """Return how many steps from the first on have the same mean reward."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def table(result: Mapping[str, Any]) -> str:
    """Return a line a run: its mean reward, in standard deviations of three seeds, and by step."""
    return "\n".join(lines(result))


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of the table."""
    yield f"{'':<26} {'reward':>7} {'sd':>6} {'acc':>6} {'greedy':>7}  by step, a sixth at a time"
    for family, rows in result["runs"].items():
        for name, row in rows.items():
            title = f"{family}: {name}"
            if "failure" in row:
                yield f"{title:<26} {row['failure'][:200]}"
                continue
            by_step, size = row["reward_by_step"], max(1, len(row["reward_by_step"]) // 6)
            means = (statistics.fmean(by_step[i : i + size]) for i in range(0, len(by_step), size))
            first = row.get("first_batch")
            told = "" if first is None else f"  first batch: {', '.join(first) or 'equal'}"
            if "equal_steps" in row:
                told += f", {row['equal_steps']} steps alike"
            yield (
                f"{title:<26} {row['mean_reward']:7.3f} {row.get('deviations', 0):+6.1f}"
                f" {row['accuracy']:6.3f} {row['greedy']:7.3f}  "
                f"{' '.join(f'{mean:.2f}' for mean in means)}{told}{'' if row['right'] else '  NO'}"
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
