"""A run that is killed goes on as one that never stopped."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwq_env import portal
from qwq_env.chat_model import Sampling
from qwq_env.cli import main
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.evaluation.heldout import evaluate
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.store import read_episodes
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.training.checkpoint_seal import is_whole, seal, unseal
from qwq_env.training.environments import environments
from qwq_env.training.grpo import RandomReward
from qwq_env.training.phase_seconds import PhaseSeconds
from qwq_env.training.recipe import Recipe, load_recipe
from qwq_env.training.run_folder import RunFolder

from ..ranks import run_training, start

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 24, 3
SETTINGS = [
    "cold_start.steps=2", "cold_start.batch=4", "cold_start.transcripts=32",
    f"grpo.steps={STEPS}", "grpo.episodes=8",
    f"grpo.save_steps={EVERY}", "grpo.max_completion_tokens=24", "grpo.reward=random",
    "evaluation.tasks=4", "evaluation.samples=0",
]  # fmt: skip


def killed_in_the_middle(runs: Path) -> Path:
    """Start a run, kill it once it has two checkpoints and its seconds and goes on."""
    run, log = runs / "tiny", runs / "log"
    process = start(run_training, "recipes/tiny.yaml", "--runs", str(runs), *SETTINGS, log=log)
    while not (len(sealed(run)) >= 2 and "grpo" in seconds(run) and len(rewards(run)) % EVERY):
        assert process.is_alive(), log.read_text()[-2000:]
        time.sleep(0.005)
    process.kill()
    process.join()

    assert not (run / "summary.json").exists()
    return run


def sealed(run: Path) -> list[Path]:
    found = [path for path in (run / "checkpoints").glob("checkpoint-*") if is_whole(path)]
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def seconds(run: Path) -> dict[str, float]:
    """Return what is written down of the time that each phase took."""
    state = run / "state.json"
    return json.loads(state.read_text()).get("seconds", {}) if state.exists() else {}


def rewards(run: Path) -> dict[int, float]:
    """Return the mean reward of each step; a line that is being written is left out."""
    found: dict[int, float] = {}
    path = run / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["step"]] = row["reward"]
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.slow
def test_a_killed_run_goes_on_from_the_last_whole_checkpoint(tmp_path, caplog):
    """As if it had been killed while it saved: the newest checkpoint is short of half a file."""
    run = killed_in_the_middle(tmp_path)
    before, taken = rewards(run), seconds(run)
    *_, whole, torn = sealed(run)
    cut(torn / "optimizer.pt")
    with caplog.at_level(logging.WARNING):
        code = main(["train", "recipes/tiny.yaml", "--runs", str(tmp_path), *SETTINGS, "--resume"])

    after = rewards(run)
    spent = json.loads((run / "summary.json").read_text())["seconds"]
    episodes = [e for e in read_episodes(run / "episodes.jsonl") if e.episode[0].isdigit()]
    assert code == 0
    assert [m for m in caplog.messages if torn.name in m] == [
        f"{torn.name}: not whole; going on from {whole.name}"
    ]
    assert list(after) == list(range(1, STEPS + 1))
    assert {step: after[step] for step in before} == before
    assert len({e.seed for e in episodes}) == len(episodes) == STEPS * 8
    assert spent["grpo"] > taken["grpo"] > 0
    assert spent["cold_start"] == taken["cold_start"]
    lines = [json.loads(line) for line in (run / "ratios.jsonl").read_text().splitlines()]
    told = Counter((line["step"], line["episode"]) for line in lines)
    # Where all are paid alike nothing is learned.
    learned = [step for step, reward in after.items() if 0 < reward < 1]
    assert set(told.values()) == {1}
    assert Counter(step for step, _ in told) == dict.fromkeys(learned, 8)
    assert {episode for _, episode in told} <= {e.episode for e in episodes}


SMALL = [*SETTINGS, "grpo.steps=1", "rollout.attempts=2"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A whole run of one step."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(["train", str(ROOT / "recipes/tiny.yaml"), "--runs", str(runs), *SMALL]) == 0
    return runs / "tiny"


@pytest.mark.slow
def test_what_is_evaluated_is_held_out_and_greed_is_greedy(small):
    phases = defaultdict(list)
    for row in rows(small):
        phases[row["phase"]].append(row)
    model, tokenizer = load_checkpoint(str(small / "policy"))
    recipe, codec = load_recipe(ROOT / "recipes/tiny.yaml", SMALL), TokenCodec(tokenizer)
    policy = TransformersPolicy(model, codec)
    play = PlaySettings(Sampling(0.0), completion=24, turn_tokens=24)
    with policy.generating():
        greedy = evaluate(environments(recipe)[1], policy, codec, size=4, play=play, seed=99)
    portal.run(policy.aclose())

    split = {name: {row["task_id"].split("/")[2] for row in phases[name]} for name in phases}
    assert split.pop("grpo") == {"train"}
    assert split == {"cold": {"heldout"}, "trained": {"heldout"}, "greedy": {"heldout"}}
    file = small / "episodes.jsonl"
    stored = {n: {t.episode: t.ids for t in read_episodes(file, phase=n)} for n in phases}
    played = {name: [ids for _, ids in sorted(found.items())] for name, found in stored.items()}
    assert played["greedy"] == [episode.ids for episode in greedy]
    assert played["trained"] != played["greedy"]


def rows(run: Path) -> list[dict]:
    """Return the run's episodes as they are stored, by name."""
    lines = (run / "episodes.jsonl").read_text(encoding="utf-8").split("\n")
    return sorted((json.loads(line) for line in lines if line), key=lambda row: row["episode"])


@pytest.mark.slow
def test_an_interrupted_evaluation_plays_only_what_is_missing(small, tmp_path):
    """As if it had been killed in the last evaluation, with one of four written and one lost."""
    run = tmp_path / "tiny"
    shutil.copytree(small, run)
    before = (run / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    summary = json.loads((run / "summary.json").read_text())
    state = json.loads((run / "state.json").read_text())
    del state["greedy"]
    (run / "state.json").write_text(json.dumps(state))
    unseal(run / "policy")
    lost = json.loads(before[-3])
    lost |= {"reward": None, "outcome": {"kind": "failed", "reason": "infrastructure"}}
    (run / "episodes.jsonl").write_bytes(
        b"".join(before[:-3]) + json.dumps(lost).encode() + b"\n" + before[-2][:40]
    )
    assert main(["train", "recipes/tiny.yaml", "--runs", str(tmp_path), *SMALL, "--resume"]) == 0

    after = (run / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    again = json.loads((run / "summary.json").read_text())
    assert after[: len(before) - 3] == before[:-3]
    assert len(after) == len(before)
    assert again["accuracy_trained_greedy"] == summary["accuracy_trained_greedy"]
    assert again["seconds"]["grpo"] == summary["seconds"]["grpo"]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    for step in (9, 10):
        checkpoint = made.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
            (checkpoint / name).write_text("0123456789")
        seal(checkpoint)
    return made


def test_the_newest_whole_checkpoint_counts(folder):
    (folder.checkpoints / "checkpoint-best").mkdir()

    assert folder.last_checkpoint() == (folder.checkpoints / "checkpoint-10", 10)


@pytest.mark.parametrize("harm", ["short", "missing", "unsealed", "torn seal"])
def test_a_torn_checkpoint_is_passed_over_with_a_warning(folder, caplog, harm):
    newest = folder.checkpoints / "checkpoint-10"
    if harm == "short":
        cut(newest / "model.safetensors")
    elif harm == "missing":
        (newest / "trainer_state.json").unlink()
    elif harm == "unsealed":
        (newest / "sealed.json").unlink()
    else:
        cut(newest / "sealed.json")

    assert folder.last_checkpoint() == (folder.checkpoints / "checkpoint-9", 9)
    assert caplog.messages == ["checkpoint-10: not whole; going on from checkpoint-9"]


def test_nothing_but_torn_checkpoints_is_one_line(folder):
    for step in (9, 10):
        cut(folder.checkpoints / f"checkpoint-{step}" / "optimizer.pt")

    with pytest.raises(UsageError, match=r"^run: .*checkpoint-10 is not whole, .*delete [^\n]*$"):
        folder.last_checkpoint()


def test_a_run_without_checkpoints_has_none(tmp_path):
    assert RunFolder(tmp_path / "run").last_checkpoint() is None


def test_the_seconds_of_all_parts_add_up(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), PhaseSeconds(folder).phase("grpo"):
        time.sleep(0.02)
        raise KeyboardInterrupt
    first = folder.done("seconds")["grpo"]
    killed = PhaseSeconds(folder)
    with killed.phase("grpo"):
        time.sleep(0.02)
        killed.tick()
        second = folder.done("seconds")["grpo"]

    assert first > 0
    assert second > first


def written(path: Path, *rows: str) -> list[dict]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows), encoding="utf-8")
    RunFolder(path.parent).forget_rows(path, lambda row: row["phase"] == "old")
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def test_only_stale_rows_and_a_torn_one_are_forgotten(tmp_path):
    """The breaks are letters to JSON, and lines to `splitlines`."""
    odd = {"phase": "cold", "answer": "one\u2028two\x85three\x0cfour"}
    rows = [odd, {"phase": "old"}, {"phase": "new"}]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]

    assert written(tmp_path / "episodes.jsonl", *lines, '{"phase": "ne') == [odd, {"phase": "new"}]


def test_a_damaged_row_is_named_and_not_forgotten(tmp_path):
    path = tmp_path / "episodes.jsonl"

    with pytest.raises(UsageError, match=r"episodes\.jsonl:1: not JSON"):
        written(path, '{"phase"\n', '{"phase": "old"}\n')
    assert len(path.read_text().splitlines()) == 2


def test_a_recipe_that_has_gained_a_key_is_the_same_recipe(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.recipe.write_text("seed: 3\n")
    folder.claim(Recipe(seed=3), resume=True)

    with pytest.raises(UsageError, match="begun with another recipe"):
        folder.claim(Recipe(seed=4), resume=True)


def lots(control: RandomReward, rollouts: SimpleNamespace, step: int) -> list[float | None]:
    rollouts.last = [SimpleNamespace(seed=hash((0, step, i))) for i in range(32)]
    return control([], [], [1.0] * 32)


def test_lots_go_on_where_they_stopped():
    rollouts = SimpleNamespace(reward=lambda *_: None)
    control = RandomReward(rollouts, seed=0)
    drawn = [lots(control, rollouts, step) for step in range(4)]
    resumed = RandomReward(rollouts, seed=0)

    assert [lots(resumed, rollouts, step) for step in (2, 3)] == drawn[2:]
    assert len({tuple(step) for step in drawn}) == 4
    assert 0.3 < sum(map(sum, drawn)) / 128 < 0.7
    assert lots(RandomReward(rollouts, seed=1), rollouts, 3) != drawn[3]
