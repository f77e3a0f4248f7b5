"""Each check of the kit finds the thing that is broken in its way, and no other check does."""

from __future__ import annotations

import pytest

from qwq_env.task import Task
from qwq_env.testing import (
    DialectConformance,
    EnvConformance,
    Fault,
    GraderConformance,
    ToolConformance,
)

from . import broken

KINDS = {
    EnvConformance: broken.ENVIRONMENTS,
    ToolConformance: broken.TOOLS,
    DialectConformance: broken.DIALECTS,
    GraderConformance: broken.GRADERS,
}
CASES = [(kind, check, make) for kind, things in KINDS.items() for check, make in things.items()]
ALONE = {
    "no_step_keeps_other_episodes_waiting",
    "no_call_keeps_others_waiting",
    "time_grows_with_the_text_only",
}
"""What takes long by its nature: such a thing is asked by its own check only."""
SMALL = {"settle_seconds": 0.2, "grace_seconds": 0.2, "audit_tasks": 3, "random_episodes": 12}


@pytest.fixture(autouse=True)
def close():
    yield
    while broken.KEPT:
        broken.KEPT.pop().close()


def checks_of(kind, make, **attributes):
    return type("Checks", (kind,), {"make": lambda self: make(), **SMALL, **attributes})()


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_its_broken_thing(kind):
    assert [f"test_{check}" for check in KINDS[kind]] == checks_of(kind, None).checks()


@pytest.mark.parametrize(
    ("kind", "check", "make"), CASES, ids=[f"{k.__name__}-{c}" for k, c, _ in CASES]
)
def test_what_is_broken_is_found_by_its_check_only(kind, check, make):
    checks, name = checks_of(kind, make), f"test_{check}"
    others = [each for each in checks.checks() if each.removeprefix("test_") not in ALONE]
    asked = [name] if check in ALONE else [*others]
    found = {each.check: each.fault for each in checks.findings(asked) if each.fault}

    assert list(found) == [name]
    assert "; mend: " in found[name] and "\n" not in found[name]


@pytest.mark.parametrize(
    ("kind", "make", "check", "words"),
    [
        (GraderConformance, lambda: broken.mixes, "same_answer", "where others are graded beside"),
        (ToolConformance, lambda: broken.OddState, "state_at_the_end", "the key 1 is no text"),
        (DialectConformance, broken.NeverStops, "generation_stops", "no stop text ends a turn"),
    ],
)
def test_a_fault_says_what_is_wrong(kind, make, check, words):
    [fault] = [f.fault for f in checks_of(kind, make).findings() if check in f.check]

    assert words in fault


def test_a_test_fails_with_the_line_alone():
    with pytest.raises(Fault, match=r"^\w+: arguments: huge, .*; mend: raise ToolError with"):
        checks_of(ToolConformance, broken.TOOLS["huge_arguments"]).test_huge_arguments()


def test_a_set_is_given_the_task_that_it_reads():
    [told] = checks_of(ToolConformance, lambda: broken.Reads).findings()
    task = Task("t", "x", "", metadata={"left": 3})
    given = checks_of(ToolConformance, lambda: broken.Reads, task=lambda self: task)

    assert "give a task that holds what `start` reads" in told.fault
    assert [each for each in given.findings() if each.fault] == []
