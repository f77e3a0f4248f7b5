"""A run that is killed again and again: does it come to what one that was let alone comes to?

    qwq bench kills [--only stages ranks lora ...] [--seed 0] [--runs DIR] [--json] [--out FILE]

Each case is run once as it is. Then it is begun again, killed with SIGKILL at a moment of each kind
that there is (in the cold start, in a rollout, in a step, while a checkpoint is written, between
stages, ...), taken up with `--resume` each time, and in the end let go on. Compared are, by stage:
`metrics.jsonl`, `summary.json`, the episodes, the policy's weights bit by bit. Left out is what a
clock says: every metric and key whose name has `seconds`, `step_time` or `runtime` in it. Metrics
of what the sampler and the trainer find likely are compared to 1e-5: which episodes share a batch
of the sampler hangs on the clock too, and with it the last bits of a log-probability (two runs that
nobody killed differ by 2.5e-6).

`stages`: recipes/tiny-two-stage.yaml in short, with a reward model, groups that are replaced, and
evaluations while it trains. `ranks`: the tiny recipe on two gloo ranks. `lora`: adapters, from the
cold start of `stages`. `stale`: off policy, so that older weights belong to the state. `sharded`:
FSDP2 on two ranks, whose episodes a server plays that lives on while the run is killed, and that
samples by the seeds of its requests alone (`_seeded_vllm.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
sys.path.insert(0, str(Path(__file__).parent))

from _process import served
from _result import run, write
from many_ranks import prepare
from ranks import start_ranks

from qwq_env.rollout.store import read_episodes

CLOCKS = ("seconds", "step_time", "runtime")
LONGEST, EPISODES = 400.0, 32
STAGES = (
    "{name: first, steps: 6, mixture: {math: 2, code: 1}, evaluation: {every: 2}, dynamic: 2}",
    "{name: second, steps: 6, mixture: {math: 1, code: 1, instruction: 2},"
    " reward_model: {member: instruction, episodes: 64, steps: 40}, evaluation: {every: 3}}",
)
SHORT = (
    f"grpo.episodes={EPISODES}", "grpo.save_steps=2", "evaluation.tasks=32", "evaluation.samples=0",
    "grpo.max_completion_tokens=60", "cold_start.transcripts=512",
)  # fmt: skip
BY_LOT = ("grpo.steps=6", "grpo.reward=random")
"""So short a cold start is hardly ever paid, and what is never paid learns nothing to be lost."""


class Case(NamedTuple):
    """A recipe, what is asked of it, on how many ranks it is run, and how they hold the policy."""

    recipe: str
    overrides: tuple[str, ...]
    ranks: int = 1
    strategy: str = "ddp"
    exact: bool = True


CASES = {
    "stages": Case(
        "tiny-two-stage", (*SHORT, "cold_start.steps=60", f"stages=[{','.join(STAGES)}]")
    ),
    "ranks": Case("tiny", (*SHORT, *BY_LOT, "cold_start.steps=60"), 2),
    "lora": Case(
        "tiny",
        (*SHORT, *BY_LOT, "cold_start.steps=0", "policy.lora.rank=8", "grpo.learning_rate=0.01",
         "policy.checkpoint={cold}"),
    ),
    "stale": Case("tiny-async", (*SHORT, *BY_LOT, "cold_start.steps=60"), exact=False),
    "sharded": Case(
        "tiny",
        (*SHORT, *BY_LOT, "cold_start.steps=0", "policy.checkpoint={cold}", "policy.sampler=vllm",
         "policy.seeded=true", "policy.servers=[{url}]", "policy.served={served}"),
        2, "fsdp2",
    ),
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Run the cases; 1 if a killed one came to something else."""
    parser = argparse.ArgumentParser(prog="qwq bench kills", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--runs", type=Path, help="where the runs' folders are kept")
    result = run(parser, argv, measure, table)
    return int(any(found["differences"] for found in result["cases"].values()))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run each case, as it is and killed, and compare."""
    result: dict[str, Any] = {"seed": arguments.seed, "cases": {}}
    with tempfile.TemporaryDirectory() as made:
        runs = (arguments.runs or Path(made)).resolve()
        for name in arguments.only:
            result["cases"][name] = case(name, runs, random.Random(arguments.seed))
            write(result, arguments)
    return result


def case(name: str, runs: Path, chance: random.Random) -> dict[str, Any]:
    """Return where one case was killed, and what differs in the end."""
    began = time.perf_counter()
    if "{cold}" in str(CASES[name].overrides) and not (runs / "stages").exists():
        let_alone("stages", runs)
    whole, killed = let_alone(name, runs), runs / f"{name}-killed"
    shutil.rmtree(killed, ignore_errors=True)
    kills: list[str] = []
    with overrides(name, killed) as asked:
        for moment in moments(whole, chance):
            told = play(name, killed, asked, moment, wait=chance.uniform(0.0, 0.03))
            kills.append(f"{moment.name}{'' if told else ' (it ended before)'}")
        play(name, killed, asked)
    return {
        "kills": kills,
        "differences": list(differences(whole, killed, exact=CASES[name].exact)),
        "minutes": round((time.perf_counter() - began) / 60, 2),
    }


def let_alone(name: str, runs: Path) -> Path:
    """Return the folder of a case's run that nobody killed; run once."""
    place = runs / name
    if not (place / "summary.json").exists():
        shutil.rmtree(place, ignore_errors=True)
        with overrides(name, place) as asked:
            play(name, place, asked)
    return place


@contextmanager
def overrides(name: str, place: Path) -> Iterator[list[str]]:
    """Yield what is asked of a case's recipe, with a server beside it if that asks for one."""
    asked, cold = CASES[name].overrides, place.parent / "stages" / "stages" / "first" / "cold"
    given = {"{cold}": str(cold), "{served}": str(place.with_name(f"{place.name}-served"))}
    if "policy.served={served}" not in asked:
        yield filled(asked, given)
        return
    shutil.rmtree(given["{served}"], ignore_errors=True)
    prepare(cold, Path(given["{served}"]))
    with served("_seeded_vllm.py", given["{served}"]) as url:
        yield filled(asked, given | {"{url}": url})


def filled(asked: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """Return overrides with words in place of names in braces."""
    for name, word in given.items():
        asked = [each.replace(name, word) for each in asked]
    return list(asked)


class Moment(NamedTuple):
    """When a run is killed: once `reached` says so of the folder of a stage ("": of the run)."""

    name: str
    stage: str
    reached: Callable[[Path], bool]


def moments(whole: Path, chance: random.Random) -> Iterator[Moment]:
    """Yield the moments at which a run like `whole` is killed, in the order in which they come."""
    before = ""
    for name, folder in stages(whole).items():
        here, step = f" of {name}" if name else "", chance.choice((2, 3))
        if (folder / "cold").is_dir():
            yield Moment("cold start", name, lambda p: "cold_start" in seconds(p))
        if before:
            yield Moment(f"between {before} and {name}", before, sealed)
        if (folder / "reward_model").is_dir():
            yield Moment(f"reward model{here}", name, lambda p: "reward_model" in seconds(p))
        yield Moment(f"before a checkpoint{here}", name, lambda p: steps(p) >= 1)
        yield Moment(f"rollout of step {step + 1}{here}", name, partial(plays, step))
        yield Moment(f"step 4{here}, its episodes played", name, partial(learns, 3))
        yield Moment(f"a checkpoint half written{here}", name, saves)
        yield Moment(f"last evaluation{here}", name, lambda p: "evaluate_trained" in seconds(p))
        before = name


def stages(place: Path) -> dict[str, Path]:
    """Return the folders of a run's stages by name; of a run without stages, its own."""
    names = json.loads((place / "summary.json").read_text()).get("stages", [""])
    return {name: stage_of(place, name) for name in names}


def stage_of(place: Path, name: str) -> Path:
    """Return the folder of a stage, or of the run that has none."""
    return place / "stages" / name if name else place


def steps(place: Path) -> int:
    """Return how many steps have ended."""
    path = place / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def episodes_of(place: Path, step: int) -> int:
    """Return how many episodes of a step's are written down."""
    sign = f'"phase":"grpo","step":{step},'.encode()
    return sum(path.read_bytes().count(sign) for path in place.glob("episodes*.jsonl"))


def plays(step: int, place: Path) -> bool:
    """Whether some episodes of the step after `step` are written, and not all."""
    return steps(place) == step and 0 < episodes_of(place, step + 1) < EPISODES


def learns(step: int, place: Path) -> bool:
    """Whether a step's episodes are all there, and what it came to is not."""
    return steps(place) == step and episodes_of(place, step + 1) >= EPISODES


def saves(place: Path) -> bool:
    """Whether a checkpoint is there that is not sealed, with one that is before it."""
    found = list((place / "checkpoints").glob("checkpoint-*"))
    whole = [path for path in found if (path / "sealed.json").exists()]
    return 0 < len(whole) < len(found)


def sealed(place: Path) -> bool:
    """Whether a stage has ended."""
    return (place / "policy" / "sealed.json").exists()


def seconds(place: Path) -> Mapping[str, float]:
    """Return what is written down of the time of each phase."""
    try:
        found: dict[str, float] = json.loads((place / "state.json").read_text()).get("seconds", {})
    except OSError:
        return {}
    return found


def play(
    name: str, place: Path, asked: Sequence[str], moment: Moment | None = None, *, wait: float = 0.0
) -> bool:
    """Run or resume a case in its folder; kill it at a moment, and say whether that came."""
    case = CASES[name]
    given = (
        case.recipe, case.strategy, [*asked, f"name={place.name}"], str(place.parent),
        place.exists(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as logs:
        processes = start_ranks("_many_rank", case.ranks, given, Path(logs))
        end, found = time.monotonic() + LONGEST, False
        while any(process.is_alive() for process in processes) and not found:
            assert time.monotonic() < end, f"{name}: not done after {LONGEST:g} seconds"
            found = moment is not None and moment.reached(stage_of(place, moment.stage))
            time.sleep(wait if found else 0.002)
        if found:
            for process in processes:
                process.kill()
        for process in processes:
            process.join()
        ended = [process.exitcode for process in processes]
        if not found and any(ended):
            texts = [path.read_text()[-1500:] for path in sorted(Path(logs).glob("log-*"))]
            raise AssertionError(f"{name}: ended with {ended}\n" + "\n".join(texts))
    return found


def differences(whole: Path, killed: Path, *, exact: bool) -> Iterator[str]:
    """Yield what the killed run came to that is not what the other did."""
    for name, folder in stages(whole).items():
        here, other = f"{name}: " if name else "", stage_of(killed, name)
        for file in ("summary.json", "metrics.jsonl"):
            one, two = (rows_of(path / file) for path in (folder, other))
            if len(one) != len(two):
                yield f"{here}{file}: {len(two)} rows, not {len(one)}"
            for number, (a, b) in enumerate(zip(one, two, strict=False), start=1):
                for key in sorted({*a, *b}):
                    if not alike(a.get(key), b.get(key), exact and not key.startswith("sampling/")):
                        yield f"{here}{file}: row {number}: {key}: {b.get(key)}, not {a.get(key)}"
        if not any(row["grad_norm"] for row in rows_of(folder / "metrics.jsonl")):
            yield f"{here}no step learned anything"
        for path in sorted(folder.glob("episodes*.jsonl")):
            if episodes(path) != episodes(other / path.name):
                yield f"{here}{path.name}: other episodes"
        for path in sorted((folder / "policy").glob("*.safetensors")):
            if exact and path.read_bytes() != (other / "policy" / path.name).read_bytes():
                yield f"{here}policy/{path.name}: other weights"


def alike(one: Any, two: Any, exact: bool) -> bool:
    """Say whether a metric is the same in both, or but for the last bits."""
    if not exact and isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-5, abs_tol=1e-5)
    return bool(one == two)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file, without what a clock says, and without the run's name."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    return [
        {key: value for key, value in json.loads(line).items()
         if key != "name" and not any(word in key for word in CLOCKS)}
        for line in lines
    ]  # fmt: skip


def episodes(path: Path) -> list[tuple[Any, ...]]:
    """Return what was played, in an order that no clock has to do with."""
    return sorted((e.episode, e.task_id, e.seed, e.ids, e.reward) for e in read_episodes(path))


def table(result: Mapping[str, Any]) -> str:
    """Return where each case was killed, and what is different then."""
    told = []
    for name, found in result["cases"].items():
        told.append(f"{name}: killed {len(found['kills'])} times: {'; '.join(found['kills'])}")
        told += [f"  {each}" for each in found["differences"] or ["nothing differs"]]
    return "\n".join(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
