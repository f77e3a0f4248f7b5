"""A recipe from a stranger: what is wrong in it is one line with the file and the line, at once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.training.recipe import Recipe, dump_recipe, load_recipe
from qwq_env.training.recipe.yaml_values import read_yaml, write_yaml

BOMB = "seed: 0\n" + "".join(
    f"a{i}: &a{i} [{', '.join(['x' if i == 0 else f'*a{i - 1}'] * 10)}]\n" for i in range(12)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB + "name: *a11\n", r":2: an anchor \(&a0\)"),
        ("name: *a\n", r":1: an alias \(\*a\)"),
        ("seed: 0\ngrpo: &g\n  steps: 1\n", ":2: an anchor"),
        ("grpo:\n  <<: {steps: 1}\n", ":2: the key '<<'; expected a name"),
        ("name: !!python/object/apply:os.system [ls]\n", r":1: a tag \(tag:yaml.org,2002:python/"),
        ("name: !!str 1\n", ":1: a tag"),
        ("name: !x 1\n", ":1: a tag"),
        ("name: a\nseed: 1\nname: b\n", ":3: the key 'name' twice"),
        ("environment:\n  arguments: {x: 1, 'x': 2}\n", ":2: the key 'x' twice"),
        ("1: a\n", ":1: the key '1'; expected a name"),
        ("yes: a\n", ":1: the key 'yes'; expected a name"),
        ("null: a\n", ":1: the key 'null'; expected a name"),
        ("? [a, b]\n: c\n", r":1: the key \[\]; expected a name"),
        ("seed: " + "9" * 5000 + "\n", ":1: '9+...' cannot be read"),
        ("seed: 010\n", "seed: '010'; expected int"),
        ("seed: 1:30\n", "seed: '1:30'; expected int"),
        ("seed: 0x10\n", "seed: '0x10'; expected int"),
        ("grpo: {learning_rate: 1:30.5}\n", "grpo.learning_rate: '1:30.5'; expected float"),
        ("grpo: {learning_rate: 1e400}\n", "grpo.learning_rate: inf; expected 0 or more"),
        ("grpo: {learning_rate: '5e-4'}\n", "grpo.learning_rate: '5e-4'; expected float"),
        ('name: "\\ud800"\n', r":1: half a surrogate pair"),
        ("a: " + "[" * 5000, ":1: nested too deeply"),
        ("".join(f"{' ' * i}a:\n" for i in range(40)), ":10: nested too deeply"),
        ("- " * 5000, ":1: nested too deeply"),
        ("#" * 200_000, ": more than 100000 bytes"),
        ("name: '\x1b]0;t\x07'\n", ": unacceptable character"),
        ('"a\\e[31m\\nb": 1\n', r"a\\x1b\[31m\\nb: no such key"),
        ("k" * 1000 + ": 1\n", r"k+\.\.\.: no such key"),
        ('name: "\\e]0;t\\a/"\n', r"name: '\\x1b\]0;t\\x07/'; expected the name of one folder"),
        ("seed: [" + "1, " * 20_000 + "1]\n", r"seed: \[1, 1, .*\.\.\.\]; expected int"),
        ("policy: {sampler: {a: 1}}\n", r"policy.sampler: {'a': 1}; expected transformers or vllm"),
        ("a: b: c\n", ":1: mapping values are not allowed here"),
        ("a: 1\n---\nb: 1\n", ":2: expected a single document.*another"),
        ("- a\n", ": list; expected keys and values"),
        ("", ": nothing is said; expected keys"),
        ("# seed: 0\n", ": nothing is said; expected keys"),
        ('name: "a\\nb"\n', r"name: 'a\\nb'; expected the name of one folder"),
        (
            "name: " + "\U0001f600" * 51,
            "name: .*: 204 bytes; expected the name of one folder, at most",
        ),
        ('stages: [{name: "a\\u202eb"}]\n', r"stages: name: 'a\\u202eb'; expected the name"),
    ],
)
def test_what_is_no_recipe(tmp_path, text, told):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UsageError, match=rf"^recipe: .*{told}") as error:
        load_recipe(path)

    assert str(error.value).isprintable()
    assert len(str(error.value)) < len(str(tmp_path)) + 400
    assert time.process_time() - began < 2.0


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(UsageError, match="not UTF-8 at byte 6"):
        load_recipe(path)


def test_a_byte_order_mark_and_carriage_returns_are_passed_over(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: mine\r\nseed: 3\r\n")

    assert load_recipe(path) == Recipe(name="mine", seed=3)


@pytest.mark.parametrize("override", ["name=*a", "name=&a", "name=!x", "name=[[", "name=@x"])
def test_an_override_that_is_no_yaml_is_a_text(tmp_path, override):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 0\n")

    assert load_recipe(path, [override]).name == override.partition("=")[2]


@pytest.mark.parametrize(
    "override",
    [
        "x" * 10**6,
        f"{'a.' * 10_000}b=1",
        "seed=" + "9" * 5000,
        "seed.x=1",
        "grpo.\x1b[31m=1",
        "name=a\udcff",
    ],
)
def test_an_override_without_end_is_cut(tmp_path, override):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 0\n")
    with pytest.raises(UsageError, match=r"^(override|recipe): ") as error:
        load_recipe(path, [override])

    assert len(str(error.value)) < 300
    assert str(error.value).isprintable()


NUMBERS = {"5e-4": 5e-4, "1E3": 1000.0, "-2": -2, "+3": 3, "1_000": 1000, ".5": 0.5, "1.": 1.0,
           "1.5e+3": 1500.0, "0": 0, "-.inf": float("-inf")}  # fmt: skip
TEXTS = ["010", "1:30", "1:30.5", "0x1F", "0b1", "2024-01-01", "2024-13-45", "=", "1e", "1.2.3",
         "e5", "_1", "1__0_", "."]  # fmt: skip


def test_numbers_are_as_they_look_and_all_else_is_text():
    assert {text: read_yaml(text) for text in NUMBERS} == NUMBERS
    assert [read_yaml(text) for text in TEXTS] == TEXTS


def test_what_is_written_is_read_again():
    values = [*NUMBERS, *NUMBERS.values(), *TEXTS, "yes", "~", "", "a: b", True, None, 1e-7, 10**20]

    assert read_yaml(write_yaml({"a": values})) == {"a": values}


def test_a_recipe_is_written_without_what_is_not_read(tmp_path):
    shared = ["calculator"]
    text = write_yaml({"a": shared, "b": shared})

    assert read_yaml(text) == {"a": shared, "b": shared}
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(Recipe()))
    assert load_recipe(path) == Recipe()


def test_a_mistake_is_told_before_anything_heavy_is_imported(tmp_path):
    good, missing = tmp_path / "recipe.yaml", tmp_path / "tasks.jsonl"
    good.write_text("seed: 0\n")
    for arguments in (["nofile.yaml"], [str(good), "sed=1"], [str(good), "--tasks", str(missing)]):
        script = (
            "import sys; from qwq_env.cli import main;"
            f"code = main(['train', *{arguments!r}]);"
            "print(code, [name for name in ('torch', 'trl', 'datasets') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )

        assert done.stdout == "2 []\n"
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["null", "12", "a: b", "*x", "wei\"rd'", "tab\t"])
def test_tasks_are_taken_as_they_are_written(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 0\n")
    code = main(["train", str(path), "--tasks", f"{name}.jsonl"])

    assert code == 2
    assert capsys.readouterr().err.startswith("qwq: error: tasks: ")
