"""`GraderConformance`: what is held against every rubric and reward function."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
from collections.abc import Sequence
from typing import ClassVar, Final

from qwq_env import portal
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError, brief
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.rubric import Component, FinalTurn, Reward, RewardFunction, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.testing.conformance import Conformance, Fault, first_difference, guarded
from qwq_env.testing.held import leak, stalled
from qwq_env.turn import CallResult, Turn

__tracebackhide__ = True

_HOSTILE: Final = (
    "", " ", "\x00", "\ud800", "\u200b", "x" * 200_000, "9" * 20_000, "9**9**9**9", "1e999999999",
    "NaN", "inf", "-0", "[" * 10_000, "(" * 10_000 + ")" * 10_000, "{" * 5_000, "\\boxed{" * 3_000,
    "\\boxed{", "\\frac{1}{0}", "$" * 5_000, "```" * 3_000, "<answer>" * 3_000, "\n" * 50_000,
    "None", "True", "'; DROP TABLE tasks; --", "__import__('os')._exit(1)", "\x1b[2J\x07", "漢😀",
)  # fmt: skip


class GraderConformance(Conformance):
    """Holds a grader to its contract: it decides on whatever a model says, and pays what is right.

    ```python
    class TestExact(GraderConformance):
        def make(self):
            return exact                     # a reward function, a Component or a Rubric

        def tasks(self):
            return [Task("peru", "The capital of Peru?", "Lima"), ...]
    ```

    It is asked about answers alone, without tools: what is paid by state is checked in its
    environment. No cheat may be paid more than `threshold`.
    """

    threshold: ClassVar[float] = 0.05

    def make(self) -> Rubric | Component | RewardFunction:
        """Return the grader, made anew at each call."""
        made: Rubric | Component | RewardFunction = super().make()
        return made

    def tasks(self) -> Sequence[Task]:
        """Return tasks, of different answers, that the grader knows to grade."""
        return [Task(f"t{n}", f"What is {n} times 37?", str(37 * n)) for n in range(3, 19)]

    def phrase(self, answer: str) -> str:
        """Return an answer as a model has to say it to be paid."""
        return answer

    def test_it_can_be_asked(self) -> None:
        """It is a reward function, a component or a rubric, and can be pickled."""
        rubric = self._rubric()
        mend = "define it at the top level of a module, without a lambda, and connect when asked"
        guarded("it cannot be pickled", mend, lambda: pickle.loads(pickle.dumps(rubric)))

    def test_only_the_right_answer_is_paid(self) -> None:
        """Who says the task's answer is paid 1, and no cheat is; see `evaluation.cheats`."""
        tasks = ListTaskSet([*self.tasks()])
        env = _Asked(tasks, [], self._rubric())
        env.phrase_answer = self.phrase  # type: ignore[method-assign]
        if found := faults(audit_rewards(env, tasks=tasks.size or 0), self.threshold):
            raise Fault(
                "; ".join(found),
                "compare the whole answer (final.answer) with the task's; where the oracle is not"
                " paid, give tasks with the answers that it knows, or `phrase` them in its form",
            )

    def test_whatever_a_model_says_is_decided(self) -> None:
        """No answer makes it crash, run out of time, or give what is no number."""
        rubric, task = self._rubric(), self.tasks()[0]
        for said in dict.fromkeys(map(self.phrase, _HOSTILE)):
            reward = portal.run(_graded(rubric, task, said))
            if reward.value is None or not math.isfinite(reward.value):
                told = "; ".join(
                    f"{name}: {score.reason} {score.detail}"
                    for name, score in reward.scores.items()
                    if not score.decided
                )
                raise Fault(
                    f"for the answer {brief(said)} it decides nothing ({told:.200})",
                    "score as wrong what cannot be read: the policy must not choose to be left out;"
                    " raise InfrastructureError for your own machinery only",
                )

    def test_what_a_tool_printed_earns_nothing(self) -> None:
        """The right answer in a tool's output, or in the thinking, is not paid."""
        rubric = self._rubric()
        for task in self.tasks():
            right = self.phrase(str(task.answer))
            results = (CallResult("print", right),)
            paid = portal.run(_graded(rubric, task, "I do not know.", results, thinking=right))
            if paid.value is not None and paid.value > self.threshold:
                raise Fault(
                    f"task {brief(task.id)}: an answer that stands only in a tool's output or the"
                    f" thinking is paid {paid.value:g}",
                    "read final.answer, which is the model's alone",
                )

    def test_the_same_answer_gets_the_same_reward(self) -> None:
        """Asked twice, and beside others, it says the same."""
        cases = [(t, said) for t in self.tasks() for said in self._said(t)]
        alone = [str(portal.run(_graded(self._rubric(), *case)).value) for case in cases]
        again = [str(portal.run(_graded(self._rubric(), *case)).value) for case in cases]
        if told := first_difference(alone, again):
            raise Fault(
                f"the same answer gets another reward the second time ({told})",
                "compute it from the final turn alone: no chance, no clock, no count of calls",
            )
        rubric = self._rubric()
        together = [str(r.value) for r in portal.run(_together(rubric, cases[::-1]))][::-1]
        if told := first_difference(alone, together):
            raise Fault(
                f"an answer gets another reward where others are graded beside it ({told})",
                "keep nothing between two calls, and what one call needs in local names",
            )

    def test_the_task_stays_as_it_is(self) -> None:
        """Grading changes neither the task nor its metadata: all episodes share them."""
        for task in self.tasks():
            before = copy.deepcopy(task)
            for said in self._said(task):
                portal.run(_graded(self._rubric(), task, said))
            if task != before:
                raise Fault(f"grading changes task {brief(task.id)}", "copy what you change")

    def test_no_grade_keeps_others_waiting(self) -> None:
        """Grading blocks the event loop for no answer."""
        rubric, task = self._rubric(), self.tasks()[0]
        seconds = 0.0
        for _ in range(2):  # what it takes the first time may be an import
            cases = [(task, self.phrase(answer)) for answer in _HOSTILE if len(answer) > 1_000]
            if not (seconds := portal.run(stalled(_together(rubric, cases)))):
                return
        raise Fault(
            f"grading keeps every episode waiting for {seconds:.1f} s",
            "refuse what is too long to look at, and let what may take long be done by a"
            " qwq_env.grading.GraderPool",
        )

    def test_nothing_is_left_behind(self) -> None:
        """Grading leaves no descriptors, processes, threads and tasks."""
        rubric, task = self._rubric(), self.tasks()[0]
        said = self._said(task)

        def once() -> None:
            for each in said:
                portal.run(_graded(rubric, task, each))

        if grown := leak(once, 3, self.settle_seconds):
            raise Fault(f"{grown} are held", "close what a call opens, or open it once")

    def _rubric(self) -> Rubric:
        made = self.make()
        if isinstance(made, Rubric):
            return made
        return Rubric([made if isinstance(made, Component) else Component("grader", made)])

    def _said(self, task: Task) -> list[str]:
        return [self.phrase(str(task.answer)), self.phrase("something else"), task.prompt]


class _Asked(ToolEnv):
    """Tasks without tools, paid by the grader."""


async def _graded(
    rubric: Rubric,
    task: Task,
    answer: str,
    results: tuple[CallResult, ...] = (),
    thinking: str = "",
) -> Reward:
    text = f"{thinking}</think>{answer}"
    turn = Turn(text, thinking, answer, thinking_end=len(text) - len(answer), closed=True)
    try:
        return await rubric.grade(FinalTurn(task, answer, (turn,), results))
    except (InfrastructureError, UsageError) as error:
        raise Fault(
            f"for the answer {brief(answer)} it raises {type(error).__name__}: {error}",
            "what it needs to run must be there; what a model wrote is scored, not raised for",
        ) from None


async def _together(rubric: Rubric, cases: Sequence[tuple[Task, str]]) -> list[Reward]:
    return list(await asyncio.gather(*(_graded(rubric, *case) for case in cases)))
