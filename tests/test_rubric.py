"""Composition of rewards: weights, gates, bounds, and what could not be decided."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.grading.reward import RewardModel, Squashed
from qwq_env.grading.score import Score
from qwq_env.rubric import Component, FinalTurn, Rubric, by_reward_model
from qwq_env.task import ListTaskSet, Task
from qwq_env.turn import Turn

# A busy machine is no failure.
relaxed = settings(deadline=None)

FINAL = FinalTurn(Task("t", "Name a colour.", "Red"), "Blue.", (Turn("hm</think>Blue."),))

numbers = st.floats(-1e3, 1e3)
verdicts = st.none() | numbers


def score_of(value: float | None) -> Score:
    return Score.undecided("infra") if value is None else Score.partial(value, "so")


def part(name: str, value: float | None, weight: float = 1.0) -> Component:
    return Component(name, lambda final: score_of(value), weight)


def graded(*components, final=FINAL, **settings):
    return asyncio.run(Rubric(list(components), **settings).grade(final))


class Likes(RewardModel):
    """Scores an answer by its length and remembers what it was shown."""

    def __init__(self, needs_group: bool = False, bounded: bool = True):
        self.seen, self.needs_group, self.bounded = [], needs_group, bounded

    async def score(self, items):
        self.seen += items
        return [Score.partial(len(item.answer), "scored") for item in items]


def test_weights_add_up_and_each_score_is_named():
    reward = graded(part("style", 0.5, 2.0), part("truth", 1.0), part("cost", 3.0, -0.5))

    assert reward.value == 0.5
    assert {name: score.value for name, score in reward.scores.items()} == {
        "style": 0.5, "truth": 1.0, "cost": 3.0
    }  # fmt: skip


@pytest.mark.parametrize(("rule", "reward"), [(1.0, 1.4), (0.5, 0.7), (0.0, 0.0)])
def test_rule_times_one_plus_lambda_reward_model(rule, reward):
    gates = [part("rule", rule)]

    assert graded(part("model", 0.8, 0.5), gates=gates, base=1.0).value == pytest.approx(reward)


@relaxed
@given(
    st.lists(verdicts, max_size=3),
    st.lists(st.tuples(verdicts, st.sampled_from([-1.0, 0.0, 0.5, 2.0])), max_size=3),
    numbers.filter(bool),
    st.tuples(numbers, numbers).map(sorted),
)
def test_the_reward_is_the_formula(gates, components, base, bounds):
    assume(gates or components)
    floor, cap = bounds
    reward = graded(
        *[part(f"c{i}", value, weight) for i, (value, weight) in enumerate(components)],
        gates=[part(f"g{i}", value) for i, value in enumerate(gates)],
        base=base,
        floor=floor,
        cap=cap,
    )

    paid = [value for value, weight in components if weight]
    if 0 in gates:
        assert reward.value == min(max(0.0, floor), cap)
    elif None in gates or None in paid:
        assert reward.value is None
    else:
        total = base + sum(weight * value for value, weight in components if weight)
        expected = min(max(math.prod(gates) * total, floor), cap)
        assert reward.value == pytest.approx(expected)
        assert floor <= reward.value <= cap
        assert len(reward.scores) == len(gates) + len(components)


def test_a_closed_gate_decides_and_nothing_after_it_is_asked():
    asked = []

    def remember(name, value):
        return Component(name, lambda final: asked.append(name) or score_of(value))

    gates = [remember("open", 1.0), remember("unknown", None), remember("closed", 0.0),
             remember("later", 1.0)]  # fmt: skip
    reward = graded(remember("model", 1.0), gates=gates)

    assert reward.value == 0.0
    assert asked == list(reward.scores) == ["open", "unknown", "closed"]


def test_an_undecided_gate_spares_the_components():
    model = Likes()
    component = Component("model", by_reward_model(model))
    reward = graded(component, gates=[part("rule", None)])

    assert reward.value is None
    assert model.seen == []


async def exits(final):
    raise SystemExit(3)


def divides(final):
    return 1 / 0


@pytest.mark.parametrize(
    ("function", "detail"), [(exits, "SystemExit: 3"), (divides, "ZeroDivisionError: division by")]
)
def test_a_function_that_raises_has_not_decided(function, detail):
    reward = graded(Component("buggy", function))

    assert reward.value is None
    assert reward.scores["buggy"].reason == "crash"
    assert detail in reward.scores["buggy"].detail


def test_the_traceback_is_logged_once(caplog):
    rubric = Rubric([Component("buggy", divides), Component("other", divides, 0.0)])
    for _ in range(3):
        asyncio.run(rubric.grade(FINAL))

    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2
    assert [record.args for record in caplog.records] == [("buggy",), ("other",)]


@pytest.mark.parametrize("error", [InfrastructureError("gone"), UsageError("mend it")])
def test_what_a_function_raises_on_purpose_is_passed_on(error):
    def fails(final):
        raise error

    with pytest.raises(type(error)):
        graded(Component("fails", fails))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"components": [divides]},
            r"components: .*; expected a Component: .*\"divides\", divides",
        ),
        ({"components": divides}, r"components: .*; expected a list of Components: .*divides\)"),
        ({"components": part("a", 1.0)}, r"expected a list of Components: Rubric\(\[component\]\)"),
        ({"components": [], "gates": None}, "rubric, gates: None; expected a list"),
        ({"components": [part("a", 1.0)], "base": None}, "base: None; expected a number"),
        ({"components": [part("a", 1.0)], "floor": "0"}, "floor: '0'; expected"),
    ],
)
def test_a_rubric_of_what_are_no_components(arguments, told):
    with pytest.raises(UsageError, match=told):
        Rubric(**arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", divides), "component, name: ''"),
        ((None, divides), "component, name: None"),
        ((divides, "a"), r'expected a text, not empty: Rubric\(\[Component\("divides", divides\)'),
        (("a", None), "component a: None; expected a function"),
        (("a", divides, None), "weight of a: None"),
        (("a", divides, math.nan), "weight of a: nan"),
    ],
)
def test_a_component_that_is_none(arguments, told):
    with pytest.raises(UsageError, match=told):
        Component(*arguments)


def test_an_undecided_component_is_never_zero():
    reward = graded(part("truth", 1.0), part("model", None), part("style", 0.25))

    assert reward.value is None
    assert [score.value for score in reward.scores.values()] == [1.0, None, 0.25]


def test_weight_zero_is_logged_and_never_paid():
    reward = graded(part("truth", 1.0), part("watched", None, 0.0), part("also", 9.0, 0.0))

    assert reward.value == 1.0
    assert set(reward.scores) == {"truth", "watched", "also"}


@pytest.mark.parametrize(("floor", "cap", "expected"), [(-1, 5, 5), (12, 20, 12), (0, 99, 10)])
def test_bounds_hold(floor, cap, expected):
    assert graded(part("big", 10.0), floor=floor, cap=cap).value == expected


def test_functions_may_be_plain_or_async_and_give_numbers():
    async def later(final):
        await asyncio.sleep(0)
        return len(final.answer)

    narrow = Component("narrow", lambda final: np.float32(0.5))
    reward = graded(Component("later", later), Component("now", lambda final: True), narrow)

    assert reward.value == 6.5
    assert reward.scores["now"] == Score(1.0, "given")


class Odd:
    """Looks like a number and is none."""

    def __float__(self):
        raise OSError("no number today")

    def __repr__(self):
        raise OSError("no name either")


NO_NUMBERS = [
    None, "1", np.str_("1"), b"1", [1.0], 1j, Odd(), np.array([1.0, 2.0]), 10**400, 1e300,
    math.nan, math.inf, np.float32("nan"), torch.tensor(math.inf), Decimal("nan"),
    Score(math.nan, "bad"), Score("1", "bad"),
]  # fmt: skip


@pytest.mark.parametrize("given_", NO_NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", ["components", "gates"])
def test_what_is_no_number_has_not_decided_and_names_its_component(given_, place, caplog):
    odd = Component("odd", lambda final: given_)
    rubric = Rubric([part("truth", 1.0)], base=1.0)
    rubric = replace(rubric, **{place: [odd]})
    rewards = [asyncio.run(rubric.grade(FINAL)) for _ in range(3)]

    assert {reward.value for reward in rewards} == {None}
    assert rewards[0].scores["odd"].reason == "no_number"
    assert [record.args[0] for record in caplog.records] == ["odd"]


@pytest.mark.parametrize(
    "given_", [True, np.bool_(True), 1, np.float32(1), np.int64(1), torch.tensor(1.0), Decimal(1),
               Fraction(1), Score(torch.tensor(1.0), "so"), Score(np.float64(1.0), "so")]
)  # fmt: skip
def test_whatever_is_a_number_counts_as_one(given_):
    reward = graded(Component("one", lambda final: given_, 0.5))

    assert (reward.value, type(reward.value)) == (0.5, float)
    assert type(reward.scores["one"].value) is float


@pytest.mark.parametrize(
    ("components", "settings"),
    [
        ([part("a", 1e15), part("b", 1e15)], {}),
        ([part("a", 1.0), part("b", 1e10, 1e10)], {"cap": 1.0}),
        ([part("a", 1.0), part("b", 1e10, -1e300)], {"floor": 0.0}),
        ([part("a", 1e10)], {"gates": [part("rule", 1.0), part("b", 1e10)]}),
        ([], {"gates": [part("b", 1e10)], "base": 1e10}),
    ],
)
def test_a_sum_out_of_bounds_has_not_decided_and_names_who_brought_it_there(
    components, settings, caplog
):
    rubric = Rubric(components, **settings)
    rewards = [asyncio.run(rubric.grade(FINAL)) for _ in range(3)]

    assert {reward.value for reward in rewards} == {None}
    [undecided] = [name for name, score in rewards[0].scores.items() if not score.decided]
    assert rewards[0].scores[undecided].reason == "overflow"
    assert [record.args[0] for record in caplog.records] == [undecided]


def test_an_episode_whose_reward_is_no_number_is_lost_and_the_next_is_not():
    values = iter([math.nan, 1.0])
    rubric = Rubric([Component("odd", lambda final: next(values))])
    env = ToolEnv(ListTaskSet([Task("t", "Say a.", "a")]), [], rubric)
    ends = []
    for _ in range(2):
        env.reset(seed=0)
        ends.append(env.step("hm\n</think>\n\na<|im_end|>"))

    assert [(math.isnan(end[1]), end[4]["outcome"]["reason"]) for end in ends] == [
        (True, "undecided"), (False, "answered")
    ]  # fmt: skip
    assert ends[0][4]["outcome"]["detail"].startswith("odd: no_number (gave nan;")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "no component"),
        ({"gates": [part("rule", 1.0)]}, "base"),
        ({"components": [part("a", 1.0)], "gates": [part("a", 1.0)]}, "share a name"),
        ({"components": [part("a", 1.0)], "floor": 2.0, "cap": 1.0}, "floor"),
        ({"components": [part("a", 1.0)], "base": math.nan}, "base"),
        ({"components": [part("a", 1.0)], "floor": math.nan}, "floor"),
        (
            {"components": [part("a", 1.0)], "base": 1e16},
            "base: 1e.16; expected a number of at most",
        ),
        ({"components": [part("a", 1.0)], "floor": math.inf}, "expected finite rewards"),
    ],
)
def test_rubrics_that_cannot_pay_are_refused(settings, named):
    with pytest.raises(UsageError, match=named):
        Rubric(**settings)


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="weight of style"):
        part("style", 1.0, math.inf)


def test_a_reward_model_sees_the_answer_and_neither_thinking_nor_reference():
    model = Likes()
    reward = graded(Component("model", by_reward_model(model)))

    assert reward.value == 5.0
    assert model.seen == [("Name a colour.", "Blue.", "")]


def test_a_reference_is_shown_where_it_is_asked_for():
    model = Likes()
    graded(Component("model", by_reward_model(model, reference=True)))

    assert model.seen[0].reference == "Red"


def test_a_conversation_reaches_the_model_as_messages():
    messages = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
    model = Likes()
    graded(
        Component("model", by_reward_model(model)),
        final=FINAL._replace(task=Task("t", "Hi", None, messages)),
    )

    assert model.seen[0].messages() == [("system", "Be kind."), ("user", "Hi")]


def test_models_that_need_a_group_are_refused():
    with pytest.raises(UsageError, match="group"):
        by_reward_model(Likes(needs_group=True))
    with pytest.raises(UsageError, match="group"):
        Squashed(Likes(needs_group=True))


@relaxed
@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(-100, 100), st.floats(0.01, 100))
def test_squashing_bounds_and_keeps_order(values, center, scale):
    class Fixed(Likes):
        async def score(self, items):
            return [Score.partial(value, "scored") for value in values]

    squashed = [
        s.value for s in asyncio.run(Squashed(Fixed(), center=center, scale=scale).score([]))
    ]

    assert all(0 <= value <= 1 for value in squashed)
    ordered = sorted(zip(values, squashed, strict=True))
    assert all(a <= b for (_, a), (_, b) in pairwise(ordered))


@pytest.mark.parametrize(
    ("rubric", "right"),
    [
        (Rubric([part("a", 1.0, 2.0)]), True),
        (Rubric([part("a", 0.5, 2.0)]), False),
        (Rubric([part("a", 1.0), part("bonus", 0.3, 0.1)]), True),
        (Rubric([part("a", 0.9), part("bonus", 1.0, 0.1)]), False),
        (Rubric([part("a", 1.0, 0.5), part("b", 0.0, 0.5)]), False),
        (Rubric([part("model", 0.4)], [part("rule", 1.0)], base=1.0), True),
        (Rubric([part("model", 4.0)], [part("rule", 0.5)], base=1.0), False),
        (Rubric([part("a", 0.0)], [part("form", 1.0)]), False),
        (Rubric([part("a", 1.0)], [part("form", 1.0)]), True),
        (Rubric([part("a", 1.0)], [part("form", 0.0)]), False),
        (Rubric([part("cost", 0.0, -1.0)], base=1.0), True),
        (Rubric([part("cost", 0.2, -1.0)], base=1.0), False),
        (Rubric([part("a", 0.2), part("b", 1.0, 0.1)], right=["b"]), True),
        (Rubric([part("a", None)]), False),
    ],
)
def test_what_counts_as_right(rubric, right):
    assert rubric.is_right(asyncio.run(rubric.grade(FINAL))) is right


def test_a_component_that_is_none_cannot_be_right():
    with pytest.raises(UsageError, match=r"^rubric, right: 'c'; expected some of: a"):
        Rubric([part("a", 1.0)], right=["c"])
