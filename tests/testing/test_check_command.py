"""`qwq check MODULE:THING`: what a thing is, what is to be mended, and what cannot be checked."""

from __future__ import annotations

import json

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.testing.find import find

MODULE = '''
import functools, gymnasium
import qwq_env as qwq
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.testing import ToolConformance
from qwq_env.tools.calculator import Calculator


@qwq.tool(blocking=False)
def root(number: float) -> float:
    """Take the square root."""
    return number ** 0.5 if number >= 0 else number.no_such_attribute


def plain(text: str) -> str:
    """Say it again."""
    return text


class Shelf(qwq.ToolSet):
    blocking = False

    def __init__(self, cups=0):
        self.cups = cups

    def start(self, task):
        self.cups += task.metadata.get("cups", 0)

    def add(self, number: int) -> str:
        """Add cups."""
        self.cups += number
        return str(self.cups)

    def state(self):
        return self.cups


class Shop(qwq.ToolEnv):
    def __init__(self):
        asked = [qwq.Task(f"t{i}", f"Give {i * 37}.", str(i * 37)) for i in range(9)]
        tasks = qwq.ListTaskSet(asked)
        super().__init__(tasks, [Shelf], qwq.Rubric([qwq.Component("right", right)]))


def right(final: qwq.FinalTurn) -> float:
    return float(final.answer == final.task.answer)


def awarded(final):
    return right(final)


def boxed(final) -> float:
    return float(final.answer == f"<{final.task.answer}>")


class Mine(QwqDialect):
    name = "mine"


class Needs(qwq.ToolEnv):
    def __init__(self, folder):
        raise AssertionError


class Own(ToolConformance):
    def make(self):
        return plain


def shop() -> Shop:
    return Shop()


def kept() -> qwq.Rubric:
    return rubric


calculator = Calculator()
both = [Calculator, root]
tools = [calculator, root]
stocked = functools.partial(Shelf, cups=3)
rubric = qwq.Rubric([qwq.Component("right", right)])
component = qwq.Component("right", right)
made, seven = Shop(), 7
tasks = made.tasks
gymnasium.register("mine/Shop-v0", entry_point=Shop)
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "kit_things.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        ("mine/Shop-v0", "an environment"), ("Shop", "an environment"), ("shop", "an environment"),
        ("Shelf", "a tool set"), ("stocked", "a tool set"), ("root", "a tool"),
        ("plain", "a tool"), ("calculator", "a tool"), ("Calculator", "a tool"),
        ("tools", "tools"), ("Mine", "a dialect"), ("rubric", "a rubric"),
        ("component", "a rubric"), ("kept", "a rubric"), ("right", "a grader"),
        ("awarded", "a grader"), ("Own", "checks of its own"),
    ],
)  # fmt: skip
def test_a_thing_is_known_by_what_it_is(thing, kind, monkeypatch, folder):
    monkeypatch.syspath_prepend(folder)
    found = find(f"kit_things:{thing}")

    assert found.kind == kind
    assert found.checks.make() is not None


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("kit_things:made", "is made already; expected its class"),
        ("kit_things:Needs", "missing a required argument: 'folder'; expected one that is made"),
        ("kit_things:seven", "seven is 7; expected an environment's id"),
        ("kit_things:tasks", "expected an environment's id or class"),
        ("kit_things:Rot", "kit_things has no 'Rot'.*; expected MODULE:NAME"),
        ("kit_thing:Shop", "No module named 'kit_thing'; expected one that Python finds"),
        ("kit_things", "'kit_things'; expected MODULE:NAME"),
        ("kit_things:nowhere/Shop-v0", "environment: Namespace nowhere not found"),
    ],
)
def test_what_cannot_be_checked_is_one_line(thing, words, capsys):
    assert main(["check", thing]) == 2
    [line] = capsys.readouterr().err.splitlines()

    with pytest.raises(UsageError, match=words):
        raise UsageError(line)


def test_what_is_sound_is_said_check_by_check(capsys):
    assert main(["check", "kit_things:Shelf"]) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()

    assert first == f"kit_things:Shelf is a tool set; {len(lines)} checks"
    assert all(line.startswith("ok    ") for line in lines) and last == "all hold"


def test_what_is_to_be_mended_stands_below_its_check(capsys):
    assert main(["check", "kit_things:root", "--only", "wrong type"]) == 1
    told = capsys.readouterr().out.splitlines()

    assert told[1] == "FAIL  arguments of a wrong type"
    assert "root: arguments: wrong type, such as {'number': -1}" in told[2]
    assert told[2].endswith("mend: raise ToolError with what the model should write instead")
    assert told[3] == "1 of 1 failed"


def test_the_report_as_json(capsys):
    assert main(["check", "kit_things:root", "--only", "_type", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)

    assert (told["kind"], told["sound"], len(told["checks"])) == ("a tool", False, 1)
    assert told["checks"][0]["check"] == "arguments of a wrong type"


def test_a_grader_is_asked_about_tasks_of_a_file(folder, capsys):
    rows = [{"prompt": f"Give {n}.", "answer": f"<{n * 37}>"} for n in range(3, 9)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    only = ["check", "kit_things:right", "--only", "only_the_right"]

    assert main([*only, "--tasks", "rows.jsonl"]) == main(only) == 0
    assert main(["check", "kit_things:boxed", "--only", "only_the_right"]) == 1
    assert "give tasks with the answers that it knows" in capsys.readouterr().out
    assert main(["check", "kit_things:Shop", "--tasks", "rows.jsonl"]) == 2


def test_the_task_of_a_tool_set_needs_no_answer(folder):
    (folder / "one.jsonl").write_text('{"prompt": "Take 3.", "cups": 5}')
    taken = find("kit_things:Shelf", folder / "one.jsonl").checks.task()

    assert taken.metadata == {"cups": 5}
    assert main(["check", "kit_things:Shelf", "--only", "begins", "--tasks", "one.jsonl"]) == 0


def test_an_unknown_check_names_those_that_there_are(capsys):
    assert main(["check", "kit_things:root", "--only", "wings"]) == 2
    assert "; there are: an episode begins, the schema can be shown, " in capsys.readouterr().err


def test_the_word_thing_may_be_written(capsys):
    assert main(["check", "thing", "kit_things:Own", "--only", "pickled"]) == 0
    assert main(["check", "kit_things:root", "--not-deterministic", "--only", "same"]) == 0
