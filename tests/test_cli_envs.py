"""`qwq envs` and `qwq new`: what there is, and how one begins one's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qwq_env.cards import card_of, library_ids
from qwq_env.cli import main
from qwq_env.cli.new import files_of, written
from qwq_env.imports import current_folder
from qwq_env.registry import make_environment
from qwq_env.training.recipe import load_recipe

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "sympy", "jsonschema", "httpx", "aiohttp", "qwq_env.env"}


def run_elsewhere(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_line_an_environment(capsys):
    assert main(["envs"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in lines] == library_ids()
    assert all(f" | {name}: " in line for line in lines for name in ("tools", "tasks", "reward"))
    [math] = [line for line in lines if "MathTool" in line]
    assert "tools: calculator, python | tasks: arithmetic | reward: 1.0 if" in math


def test_the_list_as_json(capsys):
    assert main(["envs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert [each["id"] for each in told] == library_ids()
    assert all(set(each) == {"id", "task", "tools", "tasks", "reward"} for each in told)
    assert all(all(each.values()) for each in told)


def test_the_list_imports_no_environment():
    code = (
        "import sys; from qwq_env.cli import main; main(['envs']);"
        "print(*[name for name in sys.modules if name in "
        f"{HEAVY!r} or name.startswith('qwq_env.envs.math')], file=sys.stderr)"
    )

    assert run_elsewhere(ROOT, "-c", code).stderr.strip() == ""


def test_a_card_ends_with_an_episode_that_was_played(capsys):
    assert main(["envs", "qwq/MathTool-v0"]) == 0
    text = capsys.readouterr().out

    assert text.startswith(card_of("qwq/MathTool-v0").text)
    assert "just played: arithmetic/1/train/0/0" in text
    assert text.endswith("\nreward 1.0\n")


def test_a_card_as_json_holds_the_episode(capsys):
    assert main(["envs", "qwq/Retail-v0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert told["card"].startswith("`qwq/Retail-v0`")
    assert told["episode"]["reward"] == 1.0
    assert {m["role"] for m in told["episode"]["messages"]} == {
        "system",
        "user",
        "assistant",
        "tool",
    }


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("qwq/MathTol-v0", "did you mean 'qwq/MathTool-v0'"),
        ("nowhere:own/Own-v0", "No module named 'nowhere'"),
        ("", "is not known"),
        (":", "environment: "),
    ],
)
def test_an_id_that_is_none_is_one_line(capsys, env_id, words):
    assert main(["envs", env_id]) == 2
    [line] = capsys.readouterr().err.splitlines()

    assert words in line


NEEDY = '''"""`needy/Needy-v0`: needs a folder.

**Task.** None.
"""
import gymnasium
from qwq_env import ToolEnv

class Needy(ToolEnv):
    def __init__(self, folder, *, tools=("a", "b"), depth: int = 3):
        raise AssertionError

gymnasium.register("needy/Needy-v0", entry_point="needy:Needy")
'''


def test_the_card_of_ones_own_is_shown_though_it_cannot_be_made(tmp_path, monkeypatch, capsys):
    (tmp_path / "needy.py").write_text(NEEDY)
    monkeypatch.syspath_prepend(tmp_path)
    card = card_of("needy:needy/Needy-v0")

    assert (card.title, card.first("task")) == ("needs a folder.", "None")
    assert card.missing == ["tools", "reward", "episode"]
    assert card.defaults == {"tools": ("a", "b"), "depth": 3}
    assert main(["envs", "needy:needy/Needy-v0"]) == 0
    assert "No episode to show: " in capsys.readouterr().out


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A folder in which an environment and a tool were begun."""
    folder = tmp_path_factory.mktemp("begun")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["new", "env", "bookshop"]) == main(["new", "tool", "find_book"]) == 0
    finally:
        os.chdir(before)
    return folder


def test_what_is_begun_passes_its_test(begun):
    names = ["bookshop.py", "find_book.py", "test_bookshop.py", "test_find_book.py"]
    done = run_elsewhere(begun, "-m", "pytest", "-q", "-p", "no:cacheprovider")

    files = sorted(path.name for path in begun.iterdir() if path.is_file())
    assert files == sorted([*names, "bookshop.yaml"])
    assert done.returncode == 0, done.stdout
    assert "38 passed" in done.stdout


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]])
def test_what_is_begun_is_written_as_ruff_would(begun, check):
    done = run_elsewhere(begun, "-m", "ruff", *check, "--isolated", ".")

    assert done.returncode == 0, done.stdout


def test_what_is_begun_has_a_card_and_is_short(begun, monkeypatch):
    monkeypatch.syspath_prepend(begun)
    card = card_of("bookshop:own/BookshopEnv-v0")

    assert card.missing == []
    assert len((begun / "bookshop.py").read_text().splitlines()) <= 60


def test_the_recipe_that_is_begun_trains_in_the_environment(begun, monkeypatch):
    monkeypatch.chdir(begun)
    assert main(["recipe", "check", "bookshop.yaml"]) == 0

    recipe = load_recipe(begun / "bookshop.yaml", [])
    assert recipe.environment.id == "bookshop:own/BookshopEnv-v0"
    with current_folder():
        assert [tool.name for tool in make_environment(recipe.environment.id).settings.tools]
    assert str(begun) not in sys.path


@pytest.mark.parametrize("name", ["a", "t", "my_own_env", "n" * 40])
@pytest.mark.parametrize("kind", ["env", "tool"])
def test_nothing_of_the_template_is_left(kind, name):
    for path in files_of(kind, name):
        text = written(path, kind, name)

        assert "emplate" not in text
        assert path.endswith(".yaml") or compile(text, name, "exec")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MyShop", "such as my_shop"),
        ("my-shop", "such as my_shop"),
        ("class", "such as my_class"),
        ("json", "is a module already"),
        ("numpy", "is a module already"),
        ("qwq_env", "is a module already"),
        ("test_shop", "no test_ in front"),
        ("x" * 41, "at most 40"),
        ("../up", "such as up"),
        ("3d", "expected lower-case letters"),
        ("", "expected lower-case letters"),
        ("büro", "expected lower-case letters"),
    ],
)
def test_a_name_that_could_be_none_is_refused(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)

    assert main(["new", "env", name]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["shop.py", "test_shop.py", "shop.yaml"])
def test_a_file_that_is_there_stays_and_nothing_is_written(tmp_path, monkeypatch, capsys, there):
    monkeypatch.chdir(tmp_path)
    (tmp_path / there).write_text("mine")

    assert main(["new", "env", "shop"]) == 2
    assert f"{there} is there already" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_the_next_steps_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "env", "side_table"]) == 0

    told = capsys.readouterr().out
    assert "qwq check side_table:own/SideTableEnv-v0" in told
    assert "qwq train side_table.yaml" in told
