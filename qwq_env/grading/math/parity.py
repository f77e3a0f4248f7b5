"""QwQ-32B's own math scoring (QwenLM/QwQ, eval/), for numbers comparable with the published ones.

For evaluation only, never as a reward: it takes 0.73 and 7300 for 73, and anything within one part
in ten thousand. It cuts the thinking at the first `\\n</think>\\n\\n`, and where there is none it
reads the thinking too. For AIME, whose answers are integers, this is the whole of the protocol;
answers that are no plain number are left to `MathGrader`.
"""

import re
from math import isclose

from qwq_env.grading.answer import qwq_answer_text
from qwq_env.grading.math.latex import canonical
from qwq_env.grading.math.structure import Value, read_answer

__all__ = ["qwq_answer", "qwq_same_number"]

_RELATIVE_TOLERANCE = 1e-4
_LAST_NUMBER = re.compile(r"-?\d*\.?\d+")
_MINERVA = re.compile(r"final answer is \$(.*?)\$\. I hope", re.DOTALL)


def qwq_answer(response: str) -> str:
    """The answer that QwQ's evaluation takes from a response; "" when it finds none."""
    text = qwq_answer_text(response)
    if minerva := _MINERVA.search(text):
        return minerva[1].strip()
    if "boxed" in text:
        return _after_boxed(text.rpartition("boxed")[2])
    for phrase in ("he answer is", "final answer is"):
        if phrase in text:
            return text.rpartition(phrase)[2].strip()
    numbers = _LAST_NUMBER.findall(text.replace(",", ""))
    return numbers[-1] if numbers else ""


def qwq_same_number(answer: str, gold: str) -> bool | None:
    """Whether two numbers are the same by its rule; None when one of them is no plain number.

    The answer may be the reference, a hundredth or a hundred times of it, each to 1e-4.
    """
    if answer.strip().lower() == gold.strip().lower():
        return True
    value, reference = _number(answer), _number(gold)
    if value is None or reference is None:
        return None
    wanted = (reference / 100, reference, reference * 100)
    return any(isclose(value, number, rel_tol=_RELATIVE_TOLERANCE) for number in wanted)


def _after_boxed(rest: str) -> str:
    """What the braces hold, closed or not; without braces, all until the next dollar."""
    if not rest.startswith("{"):
        return rest.partition("$")[0].strip()
    depth = 0
    for place, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:place]
    return rest[1:]


def _number(text: str) -> float | None:
    answer = read_answer(canonical(text[:2000]))
    if not isinstance(answer, Value):
        return None
    try:
        return float(answer.text.replace(",", ""))
    except ValueError:
        return None
