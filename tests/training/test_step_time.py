"""The seconds of a step in `qwq plan`, exactly: by given rates, and by those of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.training.plan import make_plan, read_gpus
from qwq_env.training.recipe import dump_recipe, load_recipe
from qwq_env.training.shapes import shape_of
from qwq_env.training.step_time import read_rates, step_time
from qwq_env.training.updates import updates_of

RECIPES = Path(__file__).parents[2] / "recipes"
WHOLE = str(RECIPES / "qwq-32b.yaml")
SMALL = str(RECIPES / "qwen3-0.6b.yaml")
RATES = ["--rates", "sampler=1000", "trainer=500"]
QWEN3 = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
    "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
STEPS = [
    {"reward": 0.5, "rollout/seconds": 10, "weights/seconds": 1, "step_time": 16,
     "num_tokens": 2000, "episode/tokens/policy": 8.0, "episode/tokens/tool": 2.0},
    {"reward": None, "rollout/seconds": 10.0, "weights/seconds": 0.0, "step_time": 15.0,
     "num_tokens": 5000.0, "episode/tokens/policy": 12.0},
]  # fmt: skip
"""128 episodes each: 2560 tokens sampled in 20 seconds, 5256 learned from in 10."""


def planned(capsys, *arguments: str) -> dict:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["step"]


def timed(*overrides: str, gpus: str = "24xH100"):
    plan = make_plan(load_recipe(WHOLE, overrides), shape_of("Qwen/QwQ-32B"), read_gpus(gpus))
    return step_time(plan.recipe, read_rates(RATES[1:]))


def finished(folder: Path, recipe: str = SMALL, *overrides: str, steps=STEPS) -> Path:
    """Make the folder of a run that was."""
    (folder / "policy").mkdir(parents=True)
    (folder / "policy" / "config.json").write_text(json.dumps(QWEN3))
    (folder / "recipe.yaml").write_text(dump_recipe(load_recipe(recipe, overrides)))
    lines = [json.dumps({"step": number, **step}) for number, step in enumerate(steps, start=1)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    return folder


def test_servers_and_trainers_take_what_the_rates_say(capsys):
    """256 episodes on 2 engines of 4 GPUs and 16 that train, 14336 of 16384 tokens a completion."""
    step = planned(capsys, WHOLE, "--gpus", "24xH100", *RATES)

    assert [(term["name"], term["typical"], term["worst"]) for term in step["terms"]] == [
        ("sampling", 128 * 7168 / 4000, 128 * 14_336 / 4000),
        ("training", 16 * (2048 + 7168) / 500, 16 * 16_384 / 500),
    ]  # fmt: skip
    assert step["typical"] == sum(term["typical"] for term in step["terms"])
    assert [term["why"] for term in step["terms"]] == [
        "128 episodes an engine × 7168 or 14336 tokens / (4 GPUs × 1000) a second",
        "16 rows a GPU × (2048 of prompt + 7168 or 14336) tokens / 500 a second",
    ]
    assert step["rates"]["trainer"] == {"tokens": 500.0, "why": "as given"}


def test_a_gpu_that_samples_and_trains_does_one_after_the_other(capsys):
    step = planned(capsys, SMALL, *RATES)

    assert [term["worst"] for term in step["terms"]] == [128 * 3072 / 1000, 128 * 4096 / 500]
    assert not any("servers" in note for note in step["notes"])


def test_a_completion_is_no_longer_than_the_context():
    step = timed("grpo.context=8192", "grpo.max_completion_tokens=9000")

    assert step.worst == 128 * 8192 / 4000 + 16 * 8192 / 500


def test_replaced_groups_are_played_at_worst_and_are_not_learned_from():
    usual, more = timed(), timed("grpo.dynamic=2")

    assert more.typical == usual.typical
    assert more.terms[0].worst == 2 * usual.terms[0].worst
    assert more.terms[1] == usual.terms[1]


def test_what_is_learned_from_twice_takes_twice_as_long():
    usual, twice = (
        timed(),
        timed("grpo.trl.num_iterations=2", "grpo.micro_batch=1", "grpo.accumulation=8"),
    )

    assert (usual.steps, twice.steps) == (1, 4)
    assert twice.terms[1].worst == 2 * usual.terms[1].worst
    assert "a batch is 4 optimizer steps; these are the seconds of all" in twice.notes


def test_the_lines_of_a_step_follow_those_of_bytes(capsys):
    assert main(["plan", WHOLE, "--gpus", "24xH100", *RATES]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = lines[lines.index(next(line for line in lines if line.startswith("seconds of"))) :]

    assert [line.split()[:3] for line in found[1:4]] == [
        ["sampling", "229", "459"], ["training", "295", "524"], ["together", "524", "983"],
    ]  # fmt: skip
    assert found[5].split() == ["sampler", "1000", "as", "given"]


def test_without_rates_there_is_a_line_that_says_how_to_give_them(capsys):
    assert planned(capsys, WHOLE) is None
    assert main(["plan", WHOLE]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "second" in line]

    assert len(told) == 1
    assert "--rates sampler=TOKENS_PER_SECOND trainer=TOKENS_PER_SECOND" in told[0]
    assert "--measured RUN" in told[0]


def test_stages_that_differ_in_seconds_alone_are_told_apart(tmp_path, capsys):
    recipe = tmp_path / "staged.yaml"
    stages = "[{name: a}, {name: b, overrides: {grpo.max_completion_tokens: 1024}}]"
    recipe.write_text(
        Path(SMALL).read_text().replace("environment:\n", f"stages: {stages}\nenvironment:\n", 1)
    )
    assert main(["plan", str(recipe), *RATES, "--json"]) == 0

    assert list(json.loads(capsys.readouterr().out)) == ["a", "b"]


def test_a_run_gives_its_rates(tmp_path, capsys):
    step = planned(capsys, SMALL, "--measured", str(finished(tmp_path)))

    assert step["rates"]["sampler"] == {
        "tokens": 128.0, "why": "2560 tokens sampled in 20.0 seconds / 1 × H100",
    }  # fmt: skip
    assert step["rates"]["trainer"]["tokens"] == pytest.approx(525.6)
    assert step["notes"][0] == f"the rates are those of {tmp_path}, 2 steps"


def test_a_step_that_learns_from_a_batch_again_is_counted_with_the_first(tmp_path, capsys):
    again = {"loss": 0.1, "step_time": 5.0, "num_tokens": 2000}
    steps = [STEPS[0], again, STEPS[1], {**again, "num_tokens": 5000}]
    rates = []
    for name, of in (("first", STEPS), ("all", steps)):
        run = finished(tmp_path / name, SMALL, "grpo.trl.num_iterations=2", steps=of)
        rates.append(planned(capsys, SMALL, "--measured", str(run))["rates"])

    assert rates[0] == rates[1]


def test_a_run_of_another_size_and_place_is_scaled_and_told_of(tmp_path, capsys):
    run = finished(tmp_path, str(RECIPES / "tiny.yaml"), "grpo.episodes=128")
    (run / "episodes-rank1.jsonl").touch()
    sizes = shape_of("Qwen/Qwen3-0.6B").parameters, shape_of("Qwen/QwQ-32B").parameters
    step = planned(capsys, WHOLE, "--measured", str(run))

    rates = step["rates"]
    assert rates["sampler"]["tokens"] == pytest.approx(64 * sizes[0] / sizes[1])
    assert rates["trainer"]["tokens"] == pytest.approx(262.8 * sizes[0] / sizes[1])
    assert rates["trainer"]["why"].endswith(f"2 × CPU process × {sizes[0]} / {sizes[1]} parameters")
    for other in (f"the policy's parameters {sizes[0]} (here {sizes[1]})",
                  "hardware CPU process (here H100)",
                  "policy.sampler transformers (here vllm)"):  # fmt: skip
        assert other in step["notes"][0]
    assert "policy.lora" not in step["notes"][0]


def test_a_row_has_the_first_of_several_optimizer_steps(tmp_path, capsys):
    """Of 32 micro-batches, 8 are learned from in the step that is logged."""
    run = finished(tmp_path, SMALL, "grpo.micro_batch=4", "grpo.accumulation=8")

    assert planned(capsys, SMALL, "--measured", str(run))["rates"]["trainer"][
        "tokens"
    ] == pytest.approx(525.6 / 4)


def test_a_gate_looks_between_two_batches():
    """Of 32 micro-batches four times 8 are learned from."""
    updates = updates_of(load_recipe(SMALL, ["grpo.micro_batch=4", "grpo.accumulation=8"]), 1)

    assert updates.steps == 4
    assert [updates.whole(steps) for steps in (0, 1, 4, 5)] == [0, 4, 4, 8]


def test_what_was_played_in_place_of_others_was_sampled_as_well(tmp_path, capsys):
    replaced = [{**step, "dynamic/groups": 24} for step in STEPS]  # of 8, where a batch has 16
    run = finished(tmp_path, SMALL, "grpo.dynamic=2", steps=replaced)

    assert planned(capsys, SMALL, "--measured", str(run))["rates"]["sampler"]["tokens"] == 192


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        (["sampler=1000"], "--rates: expected 2 arguments"),
        (["sampler=1000", "sampler=1000"], "rates: 'sampler=1000'; expected sampler=TOKENS"),
        (["sampler=1000", "trainer=fast"], "rates: 'trainer=fast'; expected"),
        (["sampler=1000", "trainer=0"], "rates: 'trainer=0'; expected"),
        (["sampler=nan", "trainer=1"], "rates: 'sampler=nan'; expected"),
        (["sampler=1000", "trainer=inf"], "rates: 'trainer=inf'; expected"),
        (["sampler", "trainer"], "rates: 'sampler'; expected"),
        ([*RATES[1:], "--measured", "runs/tiny"], "not allowed with argument --rates"),
    ],
)
def test_rates_that_are_none_are_one_line(capsys, rates, told):
    try:
        code = main(["plan", WHOLE, "--rates", *rates])
    except SystemExit as ended:
        code = ended.code

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert told in error


def without(name: str) -> dict:
    return {key: value for key, value in STEPS[0].items() if key != name}


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "0 steps, 0 tokens sampled in 0 seconds"),
        ([{**STEPS[0], "step_time": 11.0}], "learned from in 0; expected more than 0 of each"),
        ([STEPS[0], without("rollout/seconds")], ":2: rollout/seconds: None; expected a number"),
        ([without("num_tokens")], ":1: num_tokens: None; expected a number"),
        ([{**STEPS[0], "step_time": "16"}], ":1: step_time: '16'; expected a number"),
        ([{**STEPS[0], "episode/tokens/tool": float("nan")}], "tokens/tool: nan; expected"),
        ([{**STEPS[0], "weights/seconds": -1}], ":1: weights/seconds: -1; expected a number"),
    ],
)
def test_a_log_that_gives_no_rates_is_one_line(tmp_path, capsys, steps, told):
    code = main(["plan", SMALL, "--measured", str(finished(tmp_path, steps=steps))])

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert error.startswith(f"qwq: error: measured: {tmp_path / 'metrics.jsonl'}:")
    assert told in error


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("recipe.yaml", None, "measured: recipe: "),
        ("recipe.yaml", "grpo: {stps: 3}\n", "measured: recipe: grpo.stps: no such key"),
        ("metrics.jsonl", None, "metrics.jsonl: No such file or directory; expected a JSONL file"),
        ("metrics.jsonl", "{\n{}\n", "metrics.jsonl:1: not JSON"),
        ("metrics.jsonl", "[]\n", "metrics.jsonl:1: a JSON array; expected an object a line"),
        ("policy/config.json", None, "no policy/config.json, and 'tiny' is not known here"),
        ("policy/config.json", "{", "config.json' cannot be read"),
        ("episodes-rank1.jsonl", "", "episodes of 2 processes; expected as many as divide"),
    ],
)
def test_a_folder_that_holds_no_such_run_is_one_line(tmp_path, capsys, file, text, told):
    tiny = ["grpo.group=3", "grpo.episodes=129"]
    run = finished(tmp_path, str(RECIPES / "tiny.yaml"), *tiny)
    if text is None:
        (run / file).unlink()
    else:
        (run / file).write_text(text)
    code = main(["plan", SMALL, "--measured", str(run)])

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert told in error
