"""Whole runs in miniature: learning, resuming, two processes, and bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.registry import make_environment
from qwq_env.rollout.audit import audit
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.store import read_episodes
from qwq_env.rollout.stored import StoredRun
from qwq_env.training.grpo import grpo_config
from qwq_env.training.playing import evaluation_engine, training_engine
from qwq_env.training.recipe import Recipe, RolloutRecipe, load_recipe
from qwq_env.training.run_folder import RunFolder

from ..published import SAMPLES
from ..ranks import run_ranks, run_training

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
SUMMARY_KEYS = {
    "accuracy_cold", "accuracy_trained", "accuracy_trained_greedy", "tool_call_rate_cold",
    "tool_call_rate_trained", "steps", "seconds", "seed", "versions",
}  # fmt: skip
SMALL = [
    "cold_start.steps=2", "cold_start.batch=4", "cold_start.transcripts=64",
    "grpo.steps=2", "grpo.episodes=16",
    "grpo.max_completion_tokens=40", "evaluation.tasks=8", "evaluation.samples=1",
]  # fmt: skip
HELD_OUT, STEPS, EPISODES = 64, 12, 32
LEARN = [
    "environment.id=by_tool:own/ByTool-v0", "cold_start.steps=60", "cold_start.batch=24",
    f"grpo.steps={STEPS}", f"grpo.episodes={EPISODES}", f"grpo.save_steps={STEPS - 4}",
    f"evaluation.tasks={HELD_OUT}",
]  # fmt: skip
BY_TOOL = """
from dataclasses import replace
import gymnasium
from qwq_env.envs.math import MathToolEnv
from qwq_env.rubric import Component, Rubric

def by_tool(final):
    return float("boxed" in final.answer and any(r.status == "ok" for r in final.results))

class ByTool(MathToolEnv):
    def __init__(self, *, tools=("calculator",), difficulty=1, split="train", **options):
        super().__init__(tools=tools, difficulty=difficulty, split=split, **options)
        rubric = Rubric([Component("by_tool", by_tool)])
        self.settings = replace(self.settings, rubric=rubric)

gymnasium.register("own/ByTool-v0", entry_point=ByTool)
"""
"""The word problems, where any answer is paid for which a tool was asked: to copy their numbers
takes a policy minutes to learn (`qwq bench learning`), to ask takes it seconds."""


def train(runs: Path, *arguments: str) -> int:
    return main(["train", str(RECIPE), "--runs", str(runs), *arguments])


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Iterator[Path]:
    """A short run: a twentieth of the cold start and of the reinforcement."""
    runs = tmp_path_factory.mktemp("runs")
    (runs / "by_tool.py").write_text(BY_TOOL)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(runs)

        assert train(runs, *LEARN) == 0
        yield runs / "tiny"


@pytest.mark.slow
def test_reward_rises(learned):
    summary = json.loads((learned / "summary.json").read_text())

    assert summary["accuracy_cold"] <= 0.45
    assert summary["accuracy_trained"] >= summary["accuracy_cold"] + 0.15
    assert summary["tool_call_rate_trained"] > summary["tool_call_rate_cold"]
    paid = [episode for episode in read_episodes(learned / "episodes.jsonl") if episode.reward]
    assert paid and all(episode.counts.get("ok", 0) > 0 for episode in paid)


@pytest.mark.slow
def test_the_folder_holds_what_the_run_was(learned):
    summary = json.loads((learned / "summary.json").read_text())
    metrics = [json.loads(line) for line in (learned / "metrics.jsonl").read_text().splitlines()]
    episodes = list(read_episodes(learned / "episodes.jsonl"))

    assert summary.keys() >= SUMMARY_KEYS
    assert [row["step"] for row in metrics] == list(range(1, STEPS + 1))
    assert len(episodes) == 3 * HELD_OUT + STEPS * EPISODES
    assert all(audit(episode) == [] for episode in episodes)
    assert (learned / "curve.png").stat().st_size > 1000
    assert (learned / "policy" / "model.safetensors").exists()
    assert f"steps: {STEPS}" in (learned / "recipe.yaml").read_text()
    for folder in ("policy", "checkpoints"):
        card = (learned / folder / "README.md").read_text()
        assert "GRPO of TRL on a policy made from nothing" in card
        assert f"steps: {STEPS}" in card
        assert "None" not in card


@pytest.mark.slow
def test_resume_plays_only_what_is_missing(learned, tmp_path):
    """Put the run back to its last checkpoint but one, torn line and all, and go on."""
    shutil.copytree(learned, tmp_path / "tiny")
    run = tmp_path / "tiny"
    shutil.rmtree(run / "checkpoints" / f"checkpoint-{STEPS}")
    shutil.rmtree(run / "policy")
    state = json.loads((run / "state.json").read_text())
    for phase in ("grpo", "trained", "greedy"):
        del state[phase]
    (run / "state.json").write_text(json.dumps(state))
    with (run / "episodes.jsonl").open("a") as file:
        file.write('{"phase": "gr')
    before = (run / "cold" / "model.safetensors").read_bytes()
    code = train(tmp_path, *LEARN, "--resume")

    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert code == 0
    assert steps == list(range(1, STEPS + 1))
    assert len(list(read_episodes(run / "episodes.jsonl"))) == 3 * HELD_OUT + STEPS * EPISODES
    assert (run / "cold" / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_real_problems_run_through(tmp_path):
    """Of each step a group is stored, and what the trainer made of that group."""
    sample = ["rollout.store=sample", "grpo.reward=random"]
    code = train(tmp_path, *SMALL, *sample, "--tasks", str(SAMPLES / "gsm8k.jsonl"))

    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    episodes = StoredRun.open(tmp_path / "tiny").episodes(phase="grpo")
    stored = {e.name for e in episodes if e.trajectory.ids}
    lines = (tmp_path / "tiny" / "ratios.jsonl").read_text().splitlines()
    assert code == 0
    assert summary.keys() >= SUMMARY_KEYS
    assert (len(episodes), len(stored)) == (2 * 16, 2 * 8)
    assert {json.loads(line)["episode"] for line in lines} == stored


@pytest.mark.slow
def test_two_processes_play_their_own_episodes(tmp_path):
    """By lot, so that there is something to learn; each keeps what it made of its own tokens."""
    settings = [*SMALL, "grpo.reward=random"]
    run_ranks(run_training, str(RECIPE), "--runs", str(tmp_path), *settings, folder=tmp_path)

    run = tmp_path / "tiny"
    summary = json.loads((run / "summary.json").read_text())
    first = list(read_episodes(run / "episodes.jsonl"))
    second = list(read_episodes(run / "episodes-rank1.jsonl"))
    assert summary.keys() >= SUMMARY_KEYS
    assert summary["processes"] == 2
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["sampling/kl_k3"] for row in told] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert len(first) == len(second) == 3 * 4 + 2 * 8
    assert {e.seed for e in first}.isdisjoint(e.seed for e in second)
    learned = [e for e in StoredRun.open(run).episodes(phase="grpo") if e.ratios() is not None]
    assert Counter(e.file.name for e in learned) == {
        "episodes.jsonl": 16,
        "episodes-rank1.jsonl": 16,
    }
    for episode in learned:
        assert episode.ratios().ratios == pytest.approx(
            [1.0] * sum(episode.trajectory.mask), abs=0.01
        )


@pytest.mark.parametrize(
    "options", [["--config_file", "recipes/accelerate/cpu.yaml"], ["--cpu", "--num_processes", "2"]]
)
def test_accelerate_starts_two_processes(options):
    """What they play is told above; here each only says how it is used."""
    launch = ["-m", "accelerate.commands.launch", *options, "-m", "qwq_env.training", "--help"]
    done = subprocess.run(
        [sys.executable, *launch], cwd=RECIPE.parents[1], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("usage: ") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grpo.stepz=3"], ["grpo.stepz", "did you mean 'steps'"]),
        (["grpo.steps=many"], ["grpo.steps", "'many'", "int"]),
        (["grpo.reward=luck"], ["grpo.reward", "environment or random"]),
        (["grpo.episodes=12"], ["grpo.episodes", "multiple"]),
        (["environment.tools=[calculater]"], ["calculater", "did you mean 'calculator'"]),
        (["environment.dialect=qwk"], ["dialect", "did you mean 'qwq'"]),
        (["environment.id=qwq/MathTol-v0"], ["environment", "MathTool"]),
        (["policy.checkpoint=/nowhere"], ["policy.checkpoint", "/nowhere"]),
        (["environment.difficulty=99"], ["difficulty", "99"]),
        (["--tasks", "missing.jsonl"], ["missing.jsonl"]),
        (["--tasks", "words"], ["tasks", "'words'", "expected"]),
        (["environment.id=CartPole-v1"], ["environment", "CartPole-v1", "no ToolEnv"]),
        (["name=../elsewhere"], ["name", "../elsewhere", "one folder"]),
        (["name=.."], ["name", "one folder"]),
        (["name=" + "x" * 300], ["name", "one folder"]),
        (["seed=5000000000"], ["seed", "5000000000", "less than 2**32"]),
        (["threads=0"], ["threads", "more than 0"]),
        (["grpo.steps=0"], ["grpo.steps", "more than 0"]),
        (["grpo.temperature=0"], ["grpo.temperature", "more than 0"]),
        (["grpo.learning_rate=.nan"], ["grpo.learning_rate", "nan"]),
        (["grpo.learning_rate=.inf"], ["grpo.learning_rate", "inf"]),
        (["rollout.attempts=0"], ["rollout.attempts", "0", "more than 0"]),
        (["rollout.concurrency=-1"], ["rollout.concurrency", "-1", "more than 0"]),
        (["rollout.concurrency=many"], ["rollout.concurrency", "'many'", "int"]),
        (["limits.batch=0"], ["limits.batch", "more than 0"]),
        (["limits.batch=.inf"], ["limits.batch", "inf"]),
        (["limits.batch=1e30"], ["limits.batch", "1e+30", "at most 604800"]),
        (["rollout.thinking=drop"], ["rollout.thinking", "'drop'", "keep or strip"]),
        (
            ["rollout.thinking=strip", "environment.dialect=fenced", "environment.tools=[python]"],
            ["thinking", "'strip'", "fenced", "expected 'keep'"],
        ),
        (["policy.heads=3"], ["policy.hidden", "multiple"]),
        (["policy.key_value_heads=3"], ["policy.heads", "multiple"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, words):
    code = train(tmp_path / "runs", *arguments)

    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert all(word in error for word in words), error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"question": "1+1?", "answer": "####"}', ["answer"]),
        ('{"prompt": "1+1?"}', ["answer", "expected"]),
        ('{"prompt": "1+1?", "answer": ', ["tasks.jsonl:2"]),
        ('["list"]', ["object"]),
    ],
)
def test_bad_row_names_file_and_line(tmp_path, capsys, row, words):
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"prompt": "1+1?", "answer": "2"}\n' + row + "\n")
    strict = "environment.arguments.strict=true"
    code = train(tmp_path / "runs", "--tasks", str(tasks), strict)

    error = capsys.readouterr().err
    assert code == 2
    assert "tasks.jsonl:2:" in error
    assert all(word in error for word in words), error


def test_how_episodes_are_played_reaches_the_engine():
    recipe = load_recipe(RECIPE, [
        "rollout.concurrency=3", "rollout.attempts=2", "rollout.thinking=strip",
        "limits.batch=600",
    ])  # fmt: skip

    assert recipe.rollout == RolloutRecipe(3, 2, "strip")
    assert training_engine(recipe) == EngineSettings(3, 2, 600.0)
    assert evaluation_engine(recipe) == EngineSettings(3, 2)
    assert grpo_config(recipe, RECIPE.parent, world=1).ddp_timeout > 600


def test_what_the_recipe_says_of_learning_reaches_the_trainer():
    said = {
        "temperature": 0.7, "beta": 0.03, "learning_rate": 2e-5, "max_grad_norm": 0.5,
        "steps": 3, "group": 4, "episodes": 16, "save_steps": 5, "max_completion_tokens": 77,
    }  # fmt: skip
    settings = [f"grpo.{name}={value}" for name, value in said.items()]
    recipe = load_recipe(RECIPE, [*settings, "grpo.schedule=cosine", "seed=9"])
    config = grpo_config(recipe, RECIPE.parent, world=2)

    assert (config.temperature, config.beta, config.learning_rate) == (0.7, 0.03, 2e-5)
    assert (config.max_grad_norm, config.max_steps, config.num_generations) == (0.5, 3, 4)
    assert (config.per_device_train_batch_size, config.save_steps) == (8, 5)
    assert (config.max_completion_length, config.seed, config.data_seed) == (77, 9, 9)
    assert config.lr_scheduler_type == "cosine"


def test_folder_that_exists_needs_resume(tmp_path, capsys):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "recipe.yaml").write_text("name: tiny\n")
    code = train(tmp_path)

    assert code == 2
    assert "--resume" in capsys.readouterr().err


def test_damaged_state_is_named(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(Recipe(), resume=False)
    folder.mark_done("cold_start", {"loss": 1.0})
    assert folder.done("cold_start") == {"loss": 1.0}
    folder.state.write_text('{"cold_start": ')

    with pytest.raises(UsageError, match=r"state\.json is damaged"):
        folder.done("cold_start")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("state.json", '{"cold": {"spread": 2}}', r"state\.json: cold: .*expected"),
        ("state.json", '{"cold": [1]}', r"state\.json: cold: \[1\]; expected"),
        ("episodes.jsonl", '{"outcome": {"kind": 0}}\n{"a": 1}\n', r"jsonl:2: 'a'; expected"),
        ("episodes.jsonl", '{"outcome": 3}\n', r"jsonl:1: .*; expected"),
    ],
)
def test_what_another_version_wrote_of_a_run_is_named_and_left(tmp_path, name, text, told):
    folder = RunFolder(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told):
        folder.result("cold")
        folder.forget_rows(folder.episodes, lambda row: row["outcome"]["kind"])

    assert (tmp_path / name).read_text() == text


def test_argument_that_an_environment_does_not_take_is_named():
    with pytest.raises(UsageError, match=r"'difficultly'.*did you mean 'difficulty'"):
        make_environment("qwq/MathTool-v0", {"difficultly": 2})
