r"""LiveBench's mathematics: math_comp (AMC, SMC, AIME), olympiad (IMO, USAMO) and AMPS_Hard.

For evaluation only. math_comp can be gamed: `AAAABBBBCCCCDDDDEEEE` holds the right letter four
times over, and three digits anywhere in the last fifty characters are an AIME answer, so one can
give a dozen. Olympiad pays for an answer that is merely near: any list of the right length shares
a few places with the right one. AMPS_Hard takes whatever lies within 0.001 of the answer.
"""

import re
from collections.abc import Mapping
from typing import Any

from qwq_env.grading.livebench.extract import (
    boxed_content,
    edit_distance,
    plain,
    solutions,
)
from qwq_env.grading.livebench.symbolic import equivalent
from qwq_env.grading.score import Score

__all__ = ["amps_hard", "math_competition", "olympiad"]

_CHOICE_VALUE = re.compile(r"\\textbf{\(([A-E])\)\s?}(.*?)(?:\\qquad|\$)")
_NO_VALUE = "FAILURE"
_AIME_TAIL = 50
_CHOICE_TAIL = 20
_NOISE = ("\\left", "\\right", "\\bigl", "\\bigr", "\\Bigl", "\\Bigr", "\\,", "\\;", "\n")
_CONSTANTS = ("+C", "+ C", "+ c", "+c")
_MOST_FORMULA = 2_000
_MOST_NUMBERS = 10_000
_SHORT_FRACTION = re.compile(r"frac([^{])(.)")
_SHORT_ROOT = re.compile(r"sqrt([^{\[])")


def math_competition(question: Mapping[str, Any], answer: str) -> Score:
    """AIME: the three digits stand near the end. AMC and SMC: the letter, see `_is_choice`."""
    reference = question["ground_truth"]
    tagged = set(solutions(answer)[-1:] and solutions(answer)[-1])
    repeated = len(tagged) == 1 and tagged.pop().lower() == reference.lower()
    if question["subtask"].startswith("aime"):
        right = repeated or reference in answer[-_AIME_TAIL:]
    else:
        right = repeated or _is_choice(reference, answer, question["turns"][0])
    return Score.right() if right else Score.wrong("different", answer[-40:])


def _is_choice(letter: str, answer: str, statement: str) -> bool:
    """The letter four times in a row, in a box, or alone on the last line or in its first
    parentheses; or the value of that choice near the end."""
    if letter * 4 in answer:
        return True
    answer = answer.replace(r"\\fbox{", r"\\boxed{")
    box = boxed_content(answer)
    if box and plain(box).lower() == letter.lower():
        return True
    value = dict(_CHOICE_VALUE.findall(statement)).get(letter, "").strip() or _NO_VALUE
    value = value.strip("$").strip("~")
    if value in answer[-_CHOICE_TAIL - len(value) :]:
        return True
    line = answer.strip().rpartition("\n")[2]
    if line.strip().replace("*", "").lower() == letter.lower():
        return True
    if "(" not in line or ")" not in line:
        return False
    return line.split("(", 2)[1].partition(")")[0].lower() == letter.lower()


def olympiad(question: Mapping[str, Any], answer: str) -> Score:
    """Formulae put in their places: 1 less the edit distance over the longer list's length."""
    reference = [int(number) for number in question["ground_truth"].split(",")]
    numbers = _claimed_numbers(answer)
    longer = max(len(numbers), len(reference))
    if longer >= _MOST_NUMBERS:
        return Score.wrong("too_long", f"{len(numbers)} numbers")
    value = 1 - edit_distance(numbers, reference) / longer
    if value == 1:
        return Score.right()
    return Score.partial(value, "different" if numbers else "no_answer")


def _claimed_numbers(answer: str) -> list[int | None]:
    """The list after `answer:`, else in a box, else on the last line, else behind `answer:`.

    What is no number in its place is None; a list of nothing else is no list.
    """
    for found in (_after_answer(answer), _in_box(answer), _on_last_line(answer)):
        if any(number is not None for number in found):
            return found
    return _behind_answer(answer)


def _after_answer(answer: str) -> list[int | None]:
    lines = answer.lower().strip().split("\n")
    place = max((number for number, line in enumerate(lines) if "answer:" in line), default=-1)
    if place < 0:
        return []
    text = lines[place].split("answer:")[1].replace("**", "").replace(".", "").strip()
    if not text and place < len(lines) - 1:
        text = lines[place + 1].replace("**", "").replace(".", "").strip()
    return [_integer(_bare(item)) for item in _items(text)]


def _items(text: str) -> list[str]:
    """The items of a list, the last one with all that is beyond any list that counts."""
    return text.split(",", _MOST_NUMBERS)


def _bare(item: str) -> str:
    item = item.strip().rpartition(" ")[2]
    return re.sub(r"[${}\\<>]", "", item).replace("boxed", "")


def _in_box(answer: str) -> list[int | None]:
    if "\\boxed" not in answer:
        return []
    box = boxed_content(answer)
    return [_integer(item) for item in _items(plain(answer if box is None else box))]


def _on_last_line(answer: str) -> list[int | None]:
    line = answer.strip().lower().rpartition("\n")[2]
    digits = [_first_digits(item)[0] for item in _items(line)]
    return [_integer(number) for number in digits if number]


def _behind_answer(answer: str) -> list[int | None]:
    """The first digits of each item, up to the first item with anything else in it.

    Raises ValueError for digits that make no number (`²`), over which the official judge falls.
    """
    numbers: list[int | None] = []
    for place, item in enumerate(_items(answer.lower().rpartition("answer:")[2])):
        digits, alone = _first_digits(item.strip())
        if digits and digits != "₂":
            numbers.append(int(digits))
        if place and not alone:
            break
    return numbers


def _first_digits(text: str) -> tuple[str, bool]:
    """The first run of digits, and whether there is nothing else."""
    start = next((place for place, sign in enumerate(text) if sign.isdigit()), len(text))
    end = next((p for p in range(start, len(text)) if not text[p].isdigit()), len(text))
    return text[start:end], end - start == len(text)


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def amps_hard(question: Mapping[str, Any], answer: str) -> Score:
    """The formula in the last box, else in the last dollars, equals the reference.

    Equal is what SymPy simplifies to a difference of 0, or below 0.001. Since August 2025 the
    official judge asks a language model about pairs that are not equal by this; that is not done
    here, so the scores are those of the rules before.
    """
    reference = question["ground_truth"]
    if isinstance(reference, list):
        reference = reference[-1]
    for noise in ("\\left", "\\right"):
        reference = reference.replace(noise, "")
    reference = reference.replace(" ^", "^").replace("\\ ", "*")
    text = _without_noise(answer)
    formula = _claimed_formula(text)
    if formula is None:
        right = text.removesuffix(".").endswith(reference)
        return Score.right() if right else Score.wrong("no_answer")
    if len(formula) > _MOST_FORMULA:
        return Score.wrong("too_long", f"a formula of {len(formula)} characters")
    return equivalent(reference, formula)


def _without_noise(answer: str) -> str:
    for constant in _CONSTANTS:
        answer = answer.replace(constant, "")
    answer = answer.replace(r"\\fbox{", r"\\boxed{")
    answer = answer.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    for noise in _NOISE:
        answer = answer.replace(noise, "")
    return answer.replace("\\cdot", "*")


def _claimed_formula(text: str) -> str | None:
    box = boxed_content(text)
    if box is not None:
        return _normalized(box)
    if text.count("$") < 2:
        return None
    close = text.rfind("$")
    close -= text[close - 1] == "$"
    formula = text[text.rfind("$", 0, close) + 1 : close]
    if "=" not in formula:
        formula = formula.rpartition(r"\quad \text{or} \quad")[2]
    return _normalized(formula.rpartition("=")[2].strip())


def _normalized(formula: str) -> str:
    """What stands after the last `=`, in shape: by Lewkowycz et al. (2022), appendix D."""
    formula = formula.rpartition("=")[2]
    if formula.count("$") >= 2:
        formula = formula.split("$")[1]
    for command in ("\\text{", "\\textbf{", "\\overline{"):
        formula = _unwrapped(formula, command)
    head, box, tail = formula.partition("\\boxed{")
    if box and "}" in tail:
        formula = head + "".join(tail.rsplit("}", 1))
    formula = _SHORT_FRACTION.sub(r"frac{\1}{\2}", formula)
    formula = _SHORT_ROOT.sub(r"sqrt{\1}", formula).replace("$", "")
    digits = formula.replace(",", "")
    return digits if digits.isdigit() else formula


def _unwrapped(formula: str, command: str) -> str:
    """Without the command and the first closing brace after it, each time."""
    if command not in formula:
        return formula
    head, *parts = formula.split(command)
    return head + "".join(
        part.replace("}", "", 1) if "}" in part else command + part for part in parts
    )
