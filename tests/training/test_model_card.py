"""The card of a run says what was trained from what, and how sure its figures are."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

import pytest
import yaml

from qwq_env.cli import parsers_of
from qwq_env.evaluation.heldout import Result
from qwq_env.outcome import Outcome
from qwq_env.rollout.store import EpisodeStore
from qwq_env.training.model_card import licence_of, write_model_card
from qwq_env.training.recipe import EnvironmentRecipe, GrpoRecipe, LoraRecipe, PolicyRecipe, Recipe
from qwq_env.training.run_folder import RunFolder
from qwq_env.trajectory import Trajectory

RIGHT = {"cold": range(30), "trained": range(10, 80), "greedy": range(100)}
"""Which of 100 held-out tasks each evaluation gets right."""


@pytest.fixture
def run(tmp_path):
    """A run whose evaluations have ended."""
    folder = RunFolder(tmp_path / "small")
    folder.begin(Recipe(name="small"))
    with EpisodeStore(folder.episodes) as store:
        for phase, right in RIGHT.items():
            for n in range(100):
                row = Trajectory(f"t{n}", f"evaluation.{n}", n, [], 0, [], [], [],
                                 Outcome.answered(), float(n in right))  # fmt: skip
                store.append(row, phase=phase)
    for phase, right in RIGHT.items():
        members = {"math": len(right) / 100}
        folder.mark_done(phase, asdict(Result(100, len(right) / 100, 0.9, 2.0, 0.01, 0, members)))
    folder.mark_done("seconds", {"grpo": 61.2})
    return folder


def card(run, recipe=None, folder=None) -> str:
    folder = folder or run.path
    write_model_card(folder, run, recipe or Recipe(name="small", seed=7))
    return (folder / "README.md").read_text()


def test_it_says_what_a_colleague_asks(run):
    said = card(run)

    for words in (
        "GRPO of TRL on a policy made from nothing", "`qwq/MathTool-v0`", "seed 7",
        "| before GRPO | 100 | 0.300 (0.209 to 0.391) | 90.0% | 2.0 | 1.0% | 0 |",
        "| after GRPO, greedy | 100 | 1.000 (0.964 to 1.000) |",
        "Right in `math`: before GRPO 0.300, after GRPO 0.700, after GRPO, greedy 1.000.",
        "On the same 100 tasks, +0.400", "50 are right now that were not, 10 were and are not",
        "Cold start: 500 supervised steps on transcripts of `teacher`", "grpo 61 s", "torch 2.",
        'from_pretrained("policy")', "qwq eval qwq/MathTool-v0 --checkpoint policy",
    ):  # fmt: skip
        assert words in said
    assert "None" not in said
    assert yaml.safe_load(said.split("```yaml\n")[1].split("```")[0])["seed"] == 7
    assert yaml.safe_load(said.split("---\n")[1])["library_name"] == "transformers"
    assert 'from_pretrained(".")' in card(run, folder=run.policy)


def test_no_share_is_above_one_and_a_module_of_ones_own_is_found(run):
    run.mark_done("greedy", asdict(Result(32, 31 / 32, 0.9, 2.0, 0.01, 0, {})))
    said = card(run, Recipe(name="small", environment=EnvironmentRecipe(id="ledger:own/Ledger-v0")))

    assert "| after GRPO, greedy | 32 | 0.969 (0.905 to 1.000) |" in said
    assert "PYTHONPATH=FOLDER_OF_LEDGER qwq eval ledger:own/Ledger-v0" in said


@pytest.mark.parametrize(
    "environment",
    [
        EnvironmentRecipe(),
        EnvironmentRecipe(tools=["calculator", "python"], dialect="tags", difficulty=2, turns=3),
        EnvironmentRecipe(heldout_tasks="a file.jsonl", tasks="other.jsonl"),
        EnvironmentRecipe(tasks="rows.jsonl", arguments={"text": "it's", "members": {"a": 1}}),
    ],
)
def test_the_command_plays_as_the_recipe_does(run, environment):
    recipe = Recipe(name="small", environment=environment, grpo=GrpoRecipe(context=512))
    said = card(run, recipe)
    words = shlex.split(said.split("```sh\n")[1].split("\nqwq view")[0])
    asked = next(parsers_of("eval")).parse_args([word for word in words[2:] if word.strip()])

    assert asked.names == [environment.id] and asked.limit == recipe.evaluation.tasks
    assert asked.tasks == (environment.heldout_tasks or environment.tasks)
    assert (asked.context, asked.completion) == (512, recipe.grpo.max_completion_tokens)
    for name in ("tools", "dialect", "difficulty", "turns", "tool_calls"):
        assert getattr(asked, name) == getattr(environment, name)
    pairs = (each.split("=", 1) for each in asked.argument)
    assert {name: json.loads(value) for name, value in pairs} == environment.arguments
    assert ("not trained on; it is played from its first on" in said) == (
        environment.tasks == "rows.jsonl"
    )


def test_before_the_end_it_says_so(run):
    state = json.loads(run.state.read_text())
    run.state.write_text(json.dumps({"cold": state["cold"]}))
    said = card(run, folder=run.checkpoints)

    assert "The training had not ended when this was written." in said
    assert 'from_pretrained("checkpoint-N")' in said
    run.state.write_text("{}")
    assert "Held-out figures" not in card(run, folder=run.checkpoints)


BASES = {
    "license: apache-2.0": "apache-2.0",
    "license: other\nlicense_name: qwen": "qwen",
    "license: [a]": None,
    "[": None,
    "title: x": None,
}


@pytest.mark.parametrize("front", BASES)
def test_the_licence_is_that_of_the_base(front, run, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text(f"---\n{front}\n---\n# Base\n")
    policy = PolicyRecipe(checkpoint=str(base), lora=LoraRecipe(rank=8))
    said = card(run, Recipe(name="small", policy=policy))

    assert licence_of(str(base)) == BASES[front]
    assert f"Its licence: {BASES[front] or 'not known here'}" in said
    assert yaml.safe_load(said.split("---\n")[1]).get("license") == BASES[front]
    assert "AutoPeftModelForCausalLM" in said and "adapters of rank 8" in said


def test_the_policy_of_a_stage_is_whole_and_its_checkpoints_are_adapters(run):
    recipe = Recipe(name="small", policy=PolicyRecipe(checkpoint="tiny", lora=LoraRecipe(rank=8)))
    run.adapter.mkdir()

    for folder in (run.path, run.policy):
        said = card(run, recipe, folder=folder)
        assert "AutoModelForCausalLM" in said and "library_name: transformers" in said
    said = card(run, recipe, folder=run.checkpoints)
    assert "AutoPeftModelForCausalLM" in said and "library_name: peft" in said


@pytest.mark.parametrize("name", ["nobody/knows-it", "no such name", "", "a/b/c"])
def test_of_a_base_that_is_not_here_nothing_is_known(name):
    assert licence_of(name) is None
