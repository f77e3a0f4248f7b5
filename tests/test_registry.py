"""From an id, or `module:id`, to an environment; and what is refused."""

from __future__ import annotations

import atexit
import copy
import gc
import inspect
import re
import sys
from functools import partial

import gymnasium as gym
import pytest

from qwq_env.env import ToolEnv
from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError
from qwq_env.imports import current_folder, heavy_imports, missing_extra, named
from qwq_env.registry import knows_splits, make_environment

MODULE = """\
import gymnasium
from qwq_env.envs.math import MathToolEnv

class Plain(MathToolEnv):
    def __init__(self, difficulty=1, render_mode=None):
        super().__init__(difficulty=difficulty, render_mode=render_mode)

gymnasium.register("own/Plain-v0", entry_point=Plain)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_environments.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_environments"


def test_an_id_gives_the_bare_environment():
    assert type(make_environment("qwq/MathTool-v0", {"difficulty": 2})) is MathToolEnv


def test_a_module_before_the_id_is_imported(module):
    environment = make_environment(f"{module}:own/Plain-v0", {"difficulty": 2})

    assert environment.reset(options={"index": 0})[1]["task_id"].startswith("arithmetic/2/")


def test_a_class_is_named_by_its_module_alone(module):
    assert type(make_environment(f"{module}:Plain", {"difficulty": 2})).__name__ == "Plain"
    assert (
        make_environment(f"{module}:MathToolEnv", split="heldout")
        .tasks.task(0)
        .id.startswith("arithmetic/1/heldout/")
    )
    assert knows_splits(f"{module}:MathToolEnv") and not knows_splits(f"{module}:Plain")
    with pytest.raises(UsageError, match="'dialect' is not known"):
        make_environment(f"{module}:Plain", {"dialect": "qwq"})
    with pytest.raises(UsageError, match="ToolEnv': missing a required argument: 'tasks'"):
        make_environment("qwq_env.env:ToolEnv")
    for name in ("Plane", "MODULE", "gymnasium"):
        with pytest.raises(UsageError, match="registers no such id, and has no ToolEnv of that n"):
            make_environment(f"{module}:{name}")


def test_what_the_class_does_not_take_is_named(module):
    with pytest.raises(UsageError, match=r"own/Plain-v0: 'dialect' is not known; known: diff"):
        make_environment(f"{module}:own/Plain-v0", {"dialect": "qwq"})


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("max_turns", "limits=EpisodeLimits(turns=...)"),
        ("max_steps", "limits=EpisodeLimits(turns=...)"),
        ("max_tool_calls", "limits=EpisodeLimits(tool_calls=...)"),
        ("timeout", "limits=EpisodeLimits(seconds=...)"),
        ("max_tokens", "limits=EpisodeLimits(tokens=...)"),
        ("dificulty", "'difficulty'"),
        ("toolset", "'tools'"),
    ],
)
def test_an_argument_that_is_none_names_what_was_meant(argument, hint):
    makers = (
        partial(gym.make, "qwq/MathTool-v0"),
        partial(gym.make_vec, "qwq/MathTool-v0", 2),
        MathToolEnv,
        lambda **arguments: make_environment("qwq/MathTool-v0", arguments),
    )
    for make in makers:
        with pytest.raises(UsageError) as error:
            make(**{argument: 1})

        assert f"{argument!r} is not known (did you mean {hint}?); known: tasks, " in str(
            error.value
        )


def test_a_class_still_tells_its_arguments():
    assert list(inspect.signature(ToolEnv).parameters)[:3] == ["tasks", "tools", "rubric"]
    assert "difficulty" in inspect.signature(MathToolEnv).parameters
    assert copy.copy(MathToolEnv()).tasks is not None


@pytest.mark.parametrize("name", ["mine/Bank-v0", "Bank-v0", "qwq/Mine-v7"])
def test_an_id_of_a_module_that_is_not_imported_says_how_to(name):
    with pytest.raises(UsageError, match=f"name that in front: MODULE:{name}$"):
        make_environment(name)


@pytest.mark.parametrize("name", [":x/Y-v0", ".own:x/Y-v0", "a b:x/Y-v0", "no_such_module:x/Y-v0"])
def test_a_module_that_is_none(name):
    with pytest.raises(UsageError, match=r"^environment: ") as error:
        make_environment(name)

    assert "MODULE:" not in str(error.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with modules, which Python does not search."""
    (tmp_path / "lies_here.py").write_text("")
    (tmp_path / "wants.py").write_text("import no_such_package")
    (tmp_path / "wants_here.py").write_text("import lies_here")
    (tmp_path / "wants_ours.py").write_text("import qwq_env.no_such_part")
    (tmp_path / "wants_name.py").write_text("from qwq_env.errors import NoSuchError")
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:")
    (tmp_path / "late.py").write_text(
        "import gymnasium\ngymnasium.register('late/Late-v0', entry_point='no_such_module:Late')"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module", "No module named 'no_such_module'; .*PYTHONPATH=FOLDER"),
        ("no.such.module", "No module named 'no'; .*PYTHONPATH=FOLDER"),
        ("qwq_env.no_such_part", "qwq-env has no such part, or install it again"),
        ("lies_here", r"it lies in this folder, which Python does not search; put PYTHONPATH=\."),
    ],
)
def test_a_module_that_is_not_found_says_the_way_to_it(folder, name, told):
    with pytest.raises(UsageError, match=f"^environment: .*{told}"):
        make_environment(f"{name}:x/Y-v0")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wants", "wants imports 'no_such_package', which is not found; install it"),
        ("wants_ours", "No module named 'qwq_env.no_such_part': qwq-env has no such part"),
        ("wants_name", "'wants_name': cannot import name 'NoSuchError'"),
        ("broken", r"'broken': .*broken\.py, line 2: "),
        ("late", "late/Late-v0 imports 'no_such_module', which is not found"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(folder, name, told):
    with current_folder(), pytest.raises(UsageError, match=f"^environment: .*{told}"):
        make_environment(f"{name}:{'late/Late' if name == 'late' else 'x/Y'}-v0")


def test_the_current_folder_is_searched_as_long_as_it_is_asked_for(folder):
    before = list(sys.path)
    with current_folder(), current_folder():
        assert sys.path == [*before, str(folder)]
        assert named("wants_here:lies_here.__name__", "thing") == "lies_here"

    assert sys.path == before


@pytest.mark.parametrize("text", ["json", ":loads", "json:", "json:lods", "json:JSONDecoder.decod"])
def test_what_names_nothing_is_refused(text):
    with pytest.raises(UsageError, match=r"^thing: .*expected MODULE:NAME"):
        named(text, "thing")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\n\nsys.exit(0)\n", r"py, line 3\); put what is to be run behind: if __name__"),
        ("raise SystemExit\n", r"ends the program where it is imported \(.*py, line 1\)"),
        ("x = 1\nx / 0\n", r"py, line 2\): ZeroDivisionError: division by zero$"),
        ("raise AssertionError('a\\nb')\n", r"py, line 1\): AssertionError: a"),
        ("def f(:\n", r"py, line 1: invalid syntax"),
    ],
)
def test_what_a_module_does_as_it_is_imported_is_told_with_its_line(
    tmp_path, monkeypatch, text, told
):
    name = f"imported_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=told):
        named(f"{name}:thing", "thing")


@pytest.mark.parametrize("text", ["own/bank.py:Bank", "./own/bank:Bank", "own/bank.py"])
def test_a_file_names_its_module(text):
    with pytest.raises(UsageError, match=r"is a file; expected its module, own\.bank|MODULE:NAME"):
        named(text, "thing")


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("torch", r"^torch is not installed; pip install 'qwq-env\[train\]'$"),
        ("qwq_env.training", "^qwq_env.training is missing from this installation of qwq-env"),
        (None, "^gone is not installed"),
    ],
)
def test_a_part_of_the_library_is_no_extra(module, told):
    error = missing_extra(ModuleNotFoundError("gone", name=module), "train")

    assert re.search(told, str(error))


@pytest.mark.parametrize("name", ["qwq/MathTol-v0", "no_such_module:x/Y-v0", "CartPole-v1", ""])
def test_an_id_that_is_none(name):
    with pytest.raises(UsageError, match="environment"):
        make_environment(name)


@pytest.mark.parametrize(("there", "searched"), [(False, False), (True, True)])
def test_garbage_is_not_searched_while_torch_is_imported(monkeypatch, there, searched):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    if there:
        monkeypatch.setitem(sys.modules, "torch", sys)
    kept = gc.get_freeze_count()
    made = [[] for _ in range(1000)]
    with heavy_imports():
        assert gc.isenabled() is searched
    atexit.unregister(gc.freeze)

    assert gc.isenabled()
    assert (gc.get_freeze_count() >= kept + len(made)) is not searched
