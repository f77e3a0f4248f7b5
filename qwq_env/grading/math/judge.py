"""The verdict on one pair of texts: reading, guards, rules, and which failures decide what.

What the policy wrote badly is wrong (`unparsed`, `no_answer`); a reference that does not parse is
undecided. So is a pair that costs more than it is worth (`too_complex`), until its reference is
examined alone: see `MathGrader.grade`.
"""

import re
from functools import lru_cache

from qwq_env.grading.math.compare import Comparison, Oracle
from qwq_env.grading.math.latex import MAX_CHARACTERS, canonical
from qwq_env.grading.math.oracle import FullOracle
from qwq_env.grading.math.reference import examine
from qwq_env.grading.math.structure import Answer, Listing, read_answer, values
from qwq_env.grading.math.tree import TooComplex, Unreadable
from qwq_env.grading.score import Score

__all__ = ["is_list", "judge", "judge_fully", "warm_up"]

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_DECIMAL_COMMA = re.compile(r"^(-?0),(\d*[1-9])$|^(-?\d+),(\d{0,1}[1-9]|\d{3,}[1-9])$")
_NEVER_A_LIST = re.compile(r"-?\d+,0\d+")


def judge(gold: str, answer: str, oracle: Oracle) -> Score:
    """Compare the final answer `answer` with the reference `gold` by the rules of `compare`.

    Raises what the oracle raises for questions that it passes on (`NeedsWorker`).
    """
    if len(answer) > MAX_CHARACTERS:
        # Undecided would spare it the penalty: no reference answer is of that length.
        return Score.wrong("too_long", f"an answer of {len(answer)} characters")
    gold_text, answer_text = _canonical(gold), _canonical(answer)
    if not gold_text:
        return Score.undecided("bad_reference", "the reference answer is empty")
    if not answer_text:
        return Score.wrong("no_answer", "the answer is empty")
    if gold_text == answer_text or _plain(gold_text) == _plain(answer_text):
        return Score.right("equal", "the same text")
    comparison = Comparison(oracle)
    try:
        equal = _equal(gold_text, answer_text, comparison)
    except (TooComplex, RecursionError) as error:
        return Score.undecided("too_complex", str(error))
    except Unreadable as error:
        return Score.wrong("unparsed", str(error))
    if comparison.unevaluated and not equal:
        return Score.wrong("unevaluated", "the answer leaves the number to be computed")
    return Score.right() if equal else Score.wrong()


def is_list(gold: str) -> bool:
    """Whether a reference holds several answers in no order, so that each may have its own box."""
    try:
        return isinstance(_reading(_canonical(gold), True), Listing)
    except (TooComplex, RecursionError):
        return False


def judge_fully(gold: str, answer: str | None) -> Score:
    """`judge` with everything this package knows. For a worker that can be killed.

    Without an answer the question is whether `gold` can be graded against at all: whether it is
    read, and has a value that is computed here.
    """
    if answer is None:
        return _examine(gold)
    score = judge(gold, answer, FullOracle())
    if score.reason == "unparsed":
        readable = _examine(gold)
        if readable.value != 1.0:  # not the policy's fault
            return Score.undecided("bad_reference", readable.detail)
    return score


def _examine(gold: str) -> Score:
    from qwq_env.grading.math import symbolic  # noqa: PLC0415 - optional, heavy

    score = examine(gold, symbolic.parse)
    if score.value != 1.0:
        return score
    oracle = FullOracle()
    try:
        reading = _reading(_canonical(gold), True)
        Comparison(oracle).equal(reading, reading)
        for text in values(reading):
            oracle.weigh(text)
    except (TooComplex, RecursionError) as error:
        return Score.undecided("too_complex", f"the reference: {error}")
    return score


def _equal(gold: str, answer: str, comparison: Comparison) -> bool:
    golds, answers = _reading(gold, True), _reading(answer, True)
    if comparison.equal(golds, answers):
        return True
    # "100,200" is one number to some and two to others; the other side says which was meant. "1,5"
    # is one number as the answer to one; as a reference it is two, if it can be.
    if "," not in gold + answer or isinstance(golds, Listing) == isinstance(answers, Listing):
        return False
    if comparison.equal(_reading(gold, False), _reading(answer, False)):
        return True
    if isinstance(golds, Listing) and not _NEVER_A_LIST.fullmatch(gold):
        return False
    points = [_DECIMAL_COMMA.sub(r"\1\3.\2\4", text) for text in (gold, answer)]
    return points != [gold, answer] and comparison.equal(*(_reading(text, True) for text in points))


def _plain(text: str) -> str:
    """The text without the marks that say which parts of it are words."""
    return " ".join(_TEXT.sub(r"\1", text).split())


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return canonical(text)


@lru_cache(maxsize=2048)
def _reading(text: str, thousands: bool) -> Answer:
    return read_answer(text, thousands)


def warm_up() -> None:
    """Load SymPy and use its parser on the notation of most answers.

    The parser learns its tables by use: the first sum takes it a second, the next one milliseconds.
    """
    for text in _WARM:
        judge_fully(text, f"{text}+0")


_WARM = (
    "x^{2}-1",
    "\\sum_{k=0}^{n-1} F_{k} F_{n-k-1}+\\sum_{n=1}^{\\infty}\\frac{1}{n^{2}}",
    "\\prod_{k=1}^{n}\\left(k+\\frac{1}{2}\\right)",
    "\\int_{0}^{1} x^{2}\\,dx+\\lim_{x \\to 0}\\frac{\\sin(x)}{x}",
    "\\frac{1}{2}\\begin{pmatrix}1&x\\\\ -1&\\sqrt{2}\\end{pmatrix}"
    "\\begin{pmatrix}1\\\\ 0\\end{pmatrix}",
    "x \\in \\{1,2\\}\\cup[3,4)\\setminus\\mathbb{Q}",
    "2 2\\sqrt{5}\\%",
    "\\overline{AB}\\cdot\\operatorname{adj}(M)-\\log_{2}(a_{1}!)+f'(x)^{-1}",
)
