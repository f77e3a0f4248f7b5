"""Two skills small enough for a tiny policy: a line of Python, and a note written as asked.

PYTHONPATH=examples qwq envs skills:example/TinyCode-v0
PYTHONPATH=examples qwq train recipes/tiny-two-stage.yaml
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium

import qwq_env as qwq
from qwq_env.envs.code import CodeToolEnv
from qwq_env.envs.instruction import InstructionEnv
from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.envs.reward_models import make_reward_model
from qwq_env.rubric import by_reward_model

OPERATIONS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "x plus {n}": ("x + {n}", lambda x, n: x + n),
    "x minus {n}": ("x - {n}", lambda x, n: x - n),
    "x times {n}": ("x * {n}", lambda x, n: x * n),
    "the larger of x and {n}": ("max(x, {n})", max),
    "the rest of x divided by {n}": ("x % {n}", lambda x, n: x % n),
}
WORDS = ("kettle", "garden", "river", "window", "copper", "violin", "basket", "ember", "harbour",
         "meadow", "paper", "lantern")  # fmt: skip
ENDINGS = ("That is all.", "Have a good day.", "Ask me for more.")
LINES = ("* I thought of the {word}.", "* I like it.", "* So do you.")
NOTES = (
    "Write a note in which the word {word} occurs, as a list of {count} points with asterisks."
    " End it with the phrase: {ending}",
    "List {count} things, each on a line with an asterisk. Use the word {word}."
    " The very last words are to be: {ending}",
)


class TinyFunctions(ProceduralTaskSet):
    """One operation on a number, with another of two digits; which are held out, a digest says."""

    family = "tiny-functions"
    levels = 1

    def task(self, index: int) -> qwq.Task:
        draws = random.Random(f"{self.family} {self.seed}/{self.split}/{index}")
        while True:
            words, number = draws.choice(list(OPERATIONS)), draws.randint(11, 99)
            if split_of(f"{words}/{number}") == self.split:
                break
        code, compute = OPERATIONS[words]
        given = [draws.randint(100, 999), -draws.randint(1, 99)]
        tests = [{"function": "f", "arguments": [x], "expected": compute(x, number)} for x in given]
        return qwq.Task(
            f"{self._prefix}{index}",
            f"Write a Python function f(x) that returns {words.format(n=number)}. Answer with it in"
            " one ```python block.",
            f"def f(x):\n    return {code.format(n=number)}",
            metadata={"tests": tests},
        )


class TinyNotes(ProceduralTaskSet):
    """A note with three rules of IFEval's: a word, so many points, and how it ends."""

    family = "tiny-notes"
    levels = 1

    def task(self, index: int) -> qwq.Task:
        draws = random.Random(f"{self.family} {self.seed}/{self.split}/{index}")
        while True:
            word, count, ending = draws.choice(WORDS), draws.randint(1, 3), draws.choice(ENDINGS)
            if split_of(f"{word}/{count}/{ending}") == self.split:
                break
        rules = {
            "keywords:existence": {"keywords": [word]},
            "detectable_format:number_bullet_lists": {"num_bullets": count},
            "startend:end_checker": {"end_phrase": ending},
        }
        return qwq.Task(
            f"{self._prefix}{index}",
            draws.choice(NOTES).format(word=word, count=count, ending=ending),
            "\n".join([*(line.format(word=word) for line in LINES[:count]), ending]),
            metadata={"instruction_id_list": list(rules), "kwargs": list(rules.values())},
        )


class TinyCodeEnv(CodeToolEnv):
    """Pays a program that passes its tests, which run in the sandbox."""

    def __init__(self, split: str = "train", task_seed: int = 0, **options: Any) -> None:
        super().__init__(TinyFunctions(split=split, seed=task_seed), (), **options)


class TinyInstructionEnv(InstructionEnv):
    """Pays a note that follows its rules; or, given a `reward_model`, what that makes of it."""

    def __init__(
        self,
        split: str = "train",
        task_seed: int = 0,
        reward_model: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(TinyNotes(split=split, seed=task_seed), **options)
        if reward_model is not None:
            score = by_reward_model(make_reward_model(reward_model))
            rubric = qwq.Rubric([qwq.Component("reward_model", score)])
            self.settings = replace(self.settings, rubric=rubric)


gymnasium.register("example/TinyCode-v0", entry_point=TinyCodeEnv, disable_env_checker=True)
gymnasium.register(
    "example/TinyInstruction-v0", entry_point=TinyInstructionEnv, disable_env_checker=True
)

if __name__ == "__main__":
    for env in (TinyCodeEnv(), TinyInstructionEnv()):
        env.reset(options={"index": 0})
        [turn] = env.solve(env.tasks.task(0)) or ()
        _, reward, *_ = env.step(turn)
        print(type(env).__name__, "reward", reward)
