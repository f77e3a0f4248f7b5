"""Short answers: exact match and F1, as SQuAD, Natural Questions and HotpotQA are scored.

Texts are compared in lower case and without punctuation, articles (a, an, the) and surplus blanks
(Rajpurkar et al., arXiv:1606.05250). F1 is that of their words, and of yes and no whether they are
the same (Yang et al., arXiv:1809.09600).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Final

from qwq_env.grading.answer import last_boxed
from qwq_env.grading.score import Score

__all__ = ["exact_match", "normalized", "stated_answer", "word_f1"]

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_TEXT_COMMAND: Final = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")
_TEX_SIGNS: Final = {"\\&": "&", "\\%": "%", "\\$": "$", "\\_": "_", "\\ ": " ", "~": " "}
_CLOSED: Final = ("yes", "no", "noanswer")
_SPARE_WORDS: Final = 4
_LONGEST: Final = 10_000
"""Characters beyond which a text is no short answer, and is not looked at."""


def normalized(text: str) -> str:
    """Return `text` as it is compared.

    Beyond SQuAD's own rule, every script's punctuation counts as punctuation, what nobody sees is
    left out, and an answer that is nothing but an article keeps it (`A`).
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    if not folded.isascii():
        folded = "".join(sign for sign in folded if unicodedata.category(sign)[0] not in "PC")
    kept = folded.translate(_NO_PUNCTUATION)
    bare = " ".join(_ARTICLES.sub(" ", kept).split())
    return bare or " ".join(kept.split())


_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def exact_match(answer: str, accepted: Sequence[str]) -> Score:
    """Pay 1.0 if the answer is one of the accepted ones, as they are compared."""
    if not (given := _comparable(answer)):
        return Score.wrong("no_answer")
    same = any(given == normalized(each) for each in accepted)
    return Score.right() if same else Score.wrong()


def word_f1(answer: str, accepted: Sequence[str]) -> Score:
    """Pay the best F1 of the words with an accepted answer, 0 to 1.

    An answer of more than twice as many words as the longest accepted one, and four, is not paid: a
    document, a list of candidates or the question would earn its part.
    """
    if not (given := _comparable(answer)):
        return Score.wrong("no_answer")
    references = [normalized(each) for each in accepted]
    words = given.split()
    if len(words) > 2 * max(len(each.split()) for each in references) + _SPARE_WORDS:
        return Score.wrong("too_long")
    best = max(_f1(given, each) for each in references)
    return Score.partial(best, "equal" if best == 1 else "overlap" if best else "different")


def stated_answer(text: str) -> str | None:
    """Return what stands between the last `<answer>` and its end; without one, in the last box.

    None if there is neither. Of several answers only that one counts.
    """
    _, tag, rest = text.rpartition("<answer>")
    if not tag:
        return _without_tex(last_boxed(text))
    inside = rest.partition("</answer>")[0]
    boxed = last_boxed(inside)
    return inside.strip() if boxed is None else _without_tex(boxed)


def _without_tex(boxed: str | None) -> str | None:
    """Return a box's content as the words that it shows."""
    if boxed is None:
        return None
    shown = _TEXT_COMMAND.sub(r"\1", boxed[: _LONGEST + 1])
    for sign, plain in _TEX_SIGNS.items():
        shown = shown.replace(sign, plain)
    return shown.strip()


def _comparable(answer: str) -> str:
    return normalized(answer) if len(answer) <= _LONGEST else ""


def _f1(given: str, reference: str) -> float:
    if given in _CLOSED or reference in _CLOSED:
        return float(given == reference)
    words, wanted = given.split(), reference.split()
    common = (Counter(words) & Counter(wanted)).total()
    return 2 * common / (len(words) + len(wanted))
