"""A folder that should be a checkpoint and is none is told by its files, and loaded nowhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from qwq_env.errors import UsageError
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.checkpoint_folder import check_checkpoint, layers_of

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint of the smallest kind."""
    from qwq_env import make_environment
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.lessons import tiny_lessons
    from qwq_env.training.tiny.policy import build_tiny_policy

    folder = tmp_path_factory.mktemp("checkpoint")
    lessons = tiny_lessons(make_environment("qwq/MathTool-v0"), 8, difficulty=1, seed=0)
    for part in build_tiny_policy(lessons, PolicyRecipe(hidden=16, heads=2), seed=0):
        part.save_pretrained(folder)
    return folder


def split(folder: Path, parts: dict[str, str]) -> None:
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": parts}))


FAULTS = {
    "it has no tokenizer.json": lambda f: [each.unlink() for each in f.glob("tokenizer*")],
    "it has no config.json": lambda f: (f / "config.json").unlink(),
    "its config.json is no JSON object": lambda f: (f / "config.json").write_text("[" * 9999),
    "it has no weights": lambda f: (f / "model.safetensors").unlink(),
    f"its {INDEX} has no weight_map": lambda f: split(f, None),
    "2 of its parts are missing, a.safetensors first": lambda f: split(
        f, {"x": "a.safetensors", "y": "b.safetensors", "z": "config.json"}
    ),
}


@pytest.mark.parametrize("told", FAULTS)
def test_what_is_missing_is_named(whole, tmp_path, told):
    folder = tmp_path / "a copy"
    shutil.copytree(whole, folder)
    check_checkpoint(str(folder))
    assert layers_of(folder) == 2
    FAULTS[told](folder)
    with pytest.raises(UsageError, match=f"^mine: .*is no whole checkpoint: {told}"):
        check_checkpoint(str(folder), field="mine")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/nowhere", "is no folder"),
        ("runs/tiny/policy", "is no folder"),
        ("policy", "is no folder"),
        ("", "is no folder"),
        ("a/b c", "is no folder"),
        ("../x/y", "is no folder"),
        (__file__, "is a file"),
    ],
)
def test_what_is_neither_a_folder_nor_a_name_of_the_hub(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        check_checkpoint(name)
    check_checkpoint("Qwen/QwQ-32B")


def cut(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def say(folder: Path, **said: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **said}))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (cut, "is not a checkpoint"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "is not a checkpoint"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "is not a checkpoint"),
        (lambda f: say(f, model_type="nothing"), "is not a checkpoint"),
        (lambda f: say(f, hidden_size="wide"), "is not a checkpoint"),
        (lambda f: say(f, hidden_size=32), "is not a checkpoint"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(whole, tmp_path, fault, told):
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    fault(folder)
    with pytest.raises(UsageError, match=f"^policy.checkpoint: .*{told}") as caught:
        load_checkpoint(str(folder))

    assert "\n" not in str(caught.value)


def test_the_tokenizer_of_another_model_is_refused(whole, tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    small = Qwen2Config(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                        num_attention_heads=2, num_key_value_heads=1)  # fmt: skip
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    Qwen2ForCausalLM(small).save_pretrained(folder)
    with pytest.raises(UsageError, match="tokens, its model knows 64; expected the tokenizer"):
        load_checkpoint(str(folder))
