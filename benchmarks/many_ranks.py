"""One policy trained by one process, and by several: are the curves the same?

    qwq bench many_ranks [--only weights seeded disk ...] [--steps 20] [--runs DIR] [--json]
        [--out FILE]

The tiny recipe with the calculator, in short, always from the same cold start; `weights`: all of
them are trained; `lora`: adapters in their place.

Number for number: in `weights` and `lora` each process samples, one under six seeds and 2 and 4
gloo ranks (DDP) under three of them; in `seeded` a server that draws a turn by its seed alone
samples for one process, for FSDP2 on 2 and 4 ranks, and for ZeRO-3 on 2 where DeepSpeed is
installed (`DS_ACCELERATOR=cpu pip install --no-build-isolation deepspeed`); in `tokens` these take
their rows through the model by tokens, beside those that take all at once. The first batch must be
that of one process under the same seed: ids, masks and rewards the same, log-probabilities to 1e-4;
and so must the mean rewards of half of the steps or more. Then the last bit of a sum may have made
a token another.

Within noise: `disk` and `adapter` are the same two, sampled by a real vLLM on this CPU
(`.venv-vllm`, see `make test`) that gets whole weights or adapters before each step; for one
process, DDP, FSDP2 and ZeRO-3, each under a seed of its own. No run's mean reward may lie where a
seventh seed of one process would in one of 200 cases (Student's t), and of the differences from one
process under the same seed, the mean of a family must be 0 within its interval of 95 %.

With `--runs` the folders are kept, and what has ended there is not run again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
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

from _process import served
from _result import run, write
from ranks import run_ranks

from qwq_env.rollout.store import read_episodes
from qwq_env.training.report import played_rows, read_metrics
from qwq_env.trajectory import Trajectory

ROOT = Path(__file__).resolve().parents[1]
VLLM = ROOT / ".venv-vllm" / "bin" / "python"
CONTEXT, DEADLINE = 512, 600.0
SEEDS = range(6)
NOISE = 4.773 * (1 + 1 / len(SEEDS)) ** 0.5
"""Standard deviations of the seeds: Student's t for one of 200, 5 degrees of freedom."""
T95 = (math.inf, math.inf, 12.706, 4.303, 3.182, 2.776, 2.571)
"""Student's t for one of 20, by how many differences there are."""
# At twice the rate one wrong step can cost a run a third of its reward: seeds say little then.
RECIPE = (
    "environment.tools=[calculator]", "policy.heads=2", "policy.key_value_heads=1",
    "grpo.episodes=64", f"grpo.context={CONTEXT}", "grpo.learning_rate=0.0005",
    "grpo.schedule=constant", "grpo.save_steps=1000", "evaluation.tasks=96",
    "evaluation.samples=0",
)  # fmt: skip
LORA = ("policy.lora.rank=8", "policy.lora.alpha=16", "grpo.learning_rate=0.0015")


class Case(NamedTuple):
    """One run: so many ranks, how the model lies on them, and the seed."""

    ranks: int
    strategy: str = "ddp"
    seed: int = 0

    @property
    def name(self) -> str:
        """What the table calls it."""
        which = "1 process" if self.ranks == 1 else f"{self.strategy}, {self.ranks} ranks"
        return f"{which}, seed {self.seed}"


class Family(NamedTuple):
    """Runs that are alike in what is trained and who samples, and what they are held against."""

    overrides: tuple[str, ...]
    cases: tuple[Case, ...]
    like: str
    """The family whose single processes are the measure."""
    exact: bool
    """Whether that holds number for number."""


SEED_SAID = "policy.seeded=true"
DEEPSPEED = importlib.util.find_spec("deepspeed") is not None
IN_PROCESS = (
    *(Case(1, seed=seed) for seed in SEEDS),
    *(Case(ranks, seed=seed) for ranks in (2, 4) for seed in SEEDS[:3]),
)
SEEDED = (
    Case(1), Case(2, "fsdp2"), Case(4, "fsdp2"), *([Case(2, "zero3")] if DEEPSPEED else []),
)  # fmt: skip
SERVED = (
    Case(1), Case(2, seed=1), Case(4, seed=2), Case(2, "fsdp2", 3), Case(4, "fsdp2", 4),
    *([Case(2, "zero3", 5)] if DEEPSPEED else []),
)  # fmt: skip
FAMILIES = {
    "weights": Family((), IN_PROCESS, "weights", exact=True),
    "lora": Family(LORA, IN_PROCESS, "lora", exact=True),
    "seeded": Family((SEED_SAID,), SEEDED, "seeded", exact=True),
    "tokens": Family(
        (SEED_SAID, "grpo.micro_batch_tokens=1024"),
        tuple(case for case in (Case(2), *SEEDED) if case.ranks < 4),
        "seeded",
        exact=True,
    ),
    "disk": Family((), SERVED, "weights", exact=False),
    # Adapters of ZeRO-3 are refused.
    "adapter": Family(
        LORA, tuple(case for case in SERVED if case.strategy != "zero3"), "lora", exact=False
    ),
}


def main(argv: list[str]) -> int:
    """Run the cases; 1 if one failed, or is not what one process comes to."""
    parser = argparse.ArgumentParser(prog="qwq bench many_ranks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cold", type=int, default=250, help="supervised steps before them")
    parser.add_argument("--runs", type=Path, help="where the runs' folders are kept")
    result = run(parser, argv, measure, table)
    rows = [row for family in result["runs"].values() for row in family.values()]
    return int(not all(row["right"] for row in (*rows, *result["differences"].values())))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every case that has not ended in the folder of runs, and compare."""
    result: dict[str, Any] = {"steps": arguments.steps, "runs": {}, "differences": {}}
    began = time.perf_counter()
    with ExitStack() as stack:
        runs = arguments.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = runs.resolve()
        cold = cold_start(runs, arguments.cold)
        servers = None
        measures = {FAMILIES[name].like for name in arguments.only}
        for name in (each for each in FAMILIES if each in {*arguments.only, *measures}):
            family, rows = FAMILIES[name], result["runs"].setdefault(name, {})
            if not family.exact and servers is None:
                from qwq_env.rollout.vllm_local import cpu_servers

                servers = stack.enter_context(cpu_servers(VLLM))
            for case in family.cases:
                place = folder_of(runs, name, case)
                steps = f"grpo.steps={arguments.steps}"
                failure = played(place, case, cold, steps, name, servers)
                rows[case.name] = (
                    {"failure": failure, "right": False} if failure else figures(place)
                )
                compare(result, name, case, runs)
                result["minutes"] = round((time.perf_counter() - began) / 60, 1)
                write(result, arguments)
    return result


def folder_of(runs: Path, family: str, case: Case) -> Path:
    """Return where a case is run."""
    return runs / f"{family}-{case.name}".replace(", ", "-").replace(" ", "")


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


def played(place: Path, case: Case, cold: Path, steps: str, name: str, servers: Any) -> str:
    """Run a case in its folder, unless it has ended there; return what went wrong."""
    if (place / "summary.json").exists():
        return ""
    shutil.rmtree(place, ignore_errors=True)
    asked = [*RECIPE, *FAMILIES[name].overrides, steps]
    given = [*asked, f"policy.checkpoint={cold}", "cold_start.steps=0", f"seed={case.seed}"]
    if name in ("weights", "lora"):
        return start(case, place, given)
    folder = place.with_name(f"served-{place.name}")
    shutil.rmtree(folder, ignore_errors=True)
    prepare(cold, folder)
    adapter = name == "adapter"
    through = folder.with_name(f"through-{place.name}") if adapter else folder
    rank = 8 if adapter else None
    with (
        served("_seeded_vllm.py", str(folder))
        if SEED_SAID in FAMILIES[name].overrides
        else servers.serve(folder, context=CONTEXT, lora_rank=rank)
    ) as url:
        given += [
            "policy.sampler=vllm", f"policy.weights={'adapter' if adapter else 'disk'}",
            f"policy.servers=[{url}]", f"policy.served={through}",
        ]  # fmt: skip
        failure = start(case, place, given)
    for each in (folder, through):
        shutil.rmtree(each, ignore_errors=True)
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
        "right": True,
    }


def compare(result: dict[str, Any], name: str, case: Case, runs: Path) -> None:
    """Say of a run whether it is what one process comes to, and of its family, if it is served."""
    family, row = FAMILIES[name], result["runs"][name][case.name]
    one = Case(1, seed=case.seed)
    alone = result["runs"].get(family.like, {})
    if "failure" in row or "failure" in alone.get(one.name, {"failure": "not run"}):
        return
    measure = alone[one.name]
    if family.exact:
        if (name, case) == (family.like, one):
            return
        batches = (
            first_batch(folder_of(runs, *whose), whose[1].ranks)
            for whose in ((family.like, one), (name, case))
        )
        row["first_batch"] = differences(*batches)
        row["equal_steps"] = equal_steps(measure["reward_by_step"], row["reward_by_step"])
        row["right"] = not row["first_batch"] and 2 * row["equal_steps"] >= result["steps"]
        return
    row["difference"] = round(row["mean_reward"] - measure["mean_reward"], 4)
    seeds = [
        each["mean_reward"]
        for each in (alone[Case(1, seed=seed).name] for seed in SEEDS)
        if "failure" not in each
    ]
    beside = row["mean_reward"] - statistics.fmean(seeds)
    row["deviations"] = round(beside / statistics.stdev(seeds), 2)
    row["right"] = abs(row["deviations"]) <= NOISE
    found = [each["difference"] for each in result["runs"][name].values() if "difference" in each]
    if len(found) > 1:
        middle = statistics.fmean(found)
        interval = T95[len(found)] * statistics.stdev(found) / len(found) ** 0.5
        result["differences"][name] = {
            "mean": round(middle, 4), "interval": round(interval, 4),
            "right": abs(middle) <= interval,
        }  # fmt: skip


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
    """Return a line a run: its mean reward, beside one process, and by step."""
    return "\n".join(lines(result))


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of the table."""
    yield f"{'':<32} {'reward':>7} {'acc':>6} {'greedy':>7}  by step, a sixth at a time"
    for family, rows in result["runs"].items():
        for name, row in rows.items():
            title = f"{family}: {name}"
            if "failure" in row:
                yield f"{title:<32} {row['failure'][:200]}"
                continue
            by_step, size = row["reward_by_step"], max(1, len(row["reward_by_step"]) // 6)
            means = (statistics.fmean(by_step[i : i + size]) for i in range(0, len(by_step), size))
            told = ""
            if "first_batch" in row:
                told = f"  first batch: {', '.join(row['first_batch']) or 'equal'}"
                told += f", {row['equal_steps']} steps alike"
            elif "difference" in row:
                told = f"  {row['difference']:+.3f}, {row['deviations']:+.1f} sd"
            yield (
                f"{title:<32} {row['mean_reward']:7.3f} {row['accuracy']:6.3f}"
                f" {row['greedy']:7.3f}  {' '.join(f'{mean:.2f}' for mean in means)}"
                f"{told}{'' if row['right'] else '  NO'}"
            )
        if (found := result["differences"].get(family)) is not None:
            right = "" if found["right"] else "  NO"
            yield f"{family}: {found['mean']:+.3f} ± {found['interval']:.3f} of one process{right}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
