"""Whether a reference answer can be graded against: asked when a task set loads, not at a reward.

The rule. A reference must be sound LaTeX: braces and environments match, and no fraction, root,
power or index lacks an argument (`defect`; `\\frac` alone is broken, whatever stands around it).
Then each of its values is either words (`Monday`, `False`, `\\text{east}`, `odd $n$`), a name
(`B`, `|AB|`) or digits in a base, which are compared as text, or an expression that the reader or
math-verify can read and that divides nothing by zero.
"""

import re
from collections.abc import Callable

from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.latex import MAX_CHARACTERS, canonical
from qwq_env.grading.math.oracle import read_or_leave
from qwq_env.grading.math.structure import is_name, read_answer, values
from qwq_env.grading.math.tree import TooComplex, Unreadable
from qwq_env.grading.score import Score

__all__ = ["defect", "examine"]

_BRACE = re.compile(r"\\[A-Za-z]+|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\(?P<edge>begin|end)\{(?P<name>[a-z]+\*?)\}")
_TAKES_ARGUMENTS = re.compile(r"\\(?:(?P<two>frac|binom)|(?P<root>sqrt))(?![A-Za-z])|(?<!\\)[\^_]")
_DEGREE = re.compile(r"\s*\[[^\]]*\]")
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)")
_NO_ARGUMENT = frozenset("})]^_=,&")
_INFINITY = re.compile(r"[-+]? ?\\infty")
_NOT_PROSE = re.compile(r"\\(?:begin|end|mathbb)\{[A-Za-z]+\*?\}")
# Digits in a base, and prose, in whatever alphabet.
_AS_WRITTEN = re.compile(
    r"^\w+_\{?\d+\}?$|\\text\{|(?<![\\A-Za-z])[A-Za-z]{3,}|(?![A-Za-z])[^\W\d_]"
)


def defect(gold: str) -> str | None:
    """What is broken in the LaTeX of a reference answer, or None. Needs no process."""
    if len(gold) > MAX_CHARACTERS:
        return f"it is longer than {MAX_CHARACTERS} characters"
    text = canonical(gold)
    if not text:
        return "the reference answer is empty"
    closing = _matching_braces(text)
    if closing is None:
        return "its braces do not match"
    environments: list[str] = []
    for found in _ENVIRONMENT.finditer(text):
        if found["edge"] == "begin":
            environments.append(found["name"])
        elif not environments or environments.pop() != found["name"]:
            return f"\\end{{{found['name']}}} closes nothing"
    if environments:
        return f"\\begin{{{environments[-1]}}} is never closed"
    for found in _TAKES_ARGUMENTS.finditer(text):
        if not _has_arguments(text, found, closing):
            return f"{found[0]} lacks an argument"
    return None


def examine(gold: str, parse: Callable[[str], object]) -> Score:
    """Right (`readable`) if a reference answer can be graded against, else `bad_reference`.

    `parse` reads what the library's own reader leaves to math-verify; it raises `Unreadable` or,
    where that is for another process to say, what the caller knows.
    """
    broken = defect(gold)
    if broken is not None:
        return Score.wrong("bad_reference", broken)
    try:
        for value in values(read_answer(canonical(gold))):
            if not _is_readable(value, parse):
                return Score.wrong("bad_reference", f"{value[:80]!r} does not parse")
    except ZeroDivisionError:
        return Score.wrong("bad_reference", "it divides by zero")
    except (TooComplex, RecursionError) as error:
        return Score.wrong("bad_reference", str(error))
    return Score.right("readable")


def _is_readable(text: str, parse: Callable[[str], object]) -> bool:
    if _AS_WRITTEN.search(_NOT_PROSE.sub("", text)) or _INFINITY.fullmatch(text):
        return True
    if text.count("(") != text.count(")"):
        return False
    if is_name(text):
        return True
    try:
        tree = read_or_leave(text)
        if tree is None:
            parse(text)
        else:
            exact_value(tree)
    except Unreadable:
        return False
    return True


def _matching_braces(text: str) -> dict[int, int] | None:
    """The place behind each closing brace by the place of its opening one; None if unbalanced."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for found in _BRACE.finditer(text):
        if found["open"]:
            opened.append(found.start())
        elif found["close"]:
            if not opened:
                return None
            closing[opened.pop()] = found.end()
    return None if opened else closing


def _has_arguments(text: str, found: re.Match[str], closing: dict[int, int]) -> bool:
    place = found.end()
    if found["root"] and (degree := _DEGREE.match(text, place)):
        place = degree.end()
    for _ in range(2 if found["two"] else 1):
        while text[place : place + 1].isspace():
            place += 1
        if place in closing:
            if not text[place + 1 : closing[place] - 1].strip():
                return False
            place = closing[place]
        elif command := _COMMAND.match(text, place):
            place = command.end()
        elif place < len(text) and text[place] not in _NO_ARGUMENT:
            place += 1
        else:
            return False
    return True
