"""Where the sentences of a text end, by the procedure of Kiss and Strunk (2006), "Punkt".

IFEval counts sentences with NLTK's Punkt tokenizer and its English model, which must be
downloaded. The procedure needs no model: a period, question mark or exclamation mark is judged
with the word before it and the word after it. What a model adds is knowledge of words, and that is
an argument here: `english.BUILT_IN` is our own and always there; `read_knowledge` reads the
directory of an installed `punkt_tab` model, for agreement to the last abbreviation.

Everything is linear in the length of the text.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qwq_env.errors import UsageError

__all__ = [
    "LOWER",
    "LOWER_FIRST",
    "UPPER_INSIDE",
    "Knowledge",
    "read_knowledge",
    "split_sentences",
]

# How a word has been seen: the bits of the published model files.
UPPER_FIRST, UPPER_INSIDE, UPPER_SOMEWHERE = 2, 4, 8
LOWER_FIRST, LOWER_INSIDE, LOWER_SOMEWHERE = 16, 32, 64
UPPER = UPPER_FIRST | UPPER_INSIDE | UPPER_SOMEWHERE
LOWER = LOWER_FIRST | LOWER_INSIDE | LOWER_SOMEWHERE

_WHITESPACE = " \t\n\r\x0b\x0c"
_APART = r"""[)";}\]*:@'({\[‘’“”«»?!]"""  # never inside a word
_RUN = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"  # dashes and ellipses are tokens of their own
_TOKEN = re.compile(
    rf"{_RUN}"
    rf"|(?=[^(\"`{{\[:;&#*@)}}\],-])\S+?(?=\s|$|{_APART}|{_RUN}|,(?=$|\s|{_APART}|{_RUN}))"
    r"|\S"
)
_CANDIDATE = re.compile(rf"[.?!](?=(?P<after>{_APART}|\s+(?P<next>\S+)))")
_TRAILING_QUOTES = re.compile(r"""["')\]}‘’“”«»]+?(?:\s+|(?=--)|$)""", re.MULTILINE)
_ELLIPSIS = re.compile(r"\.\.+$")
_INITIAL = re.compile(r"[^\W\d]\.$")
_NUMBER = re.compile(r"^-?[.,]?\d[\d,.-]*\.?$")
_NUMBER_TYPE = "##number##"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of a language's words; all words in lower case, without the final period.

    `abbreviations` rarely end a sentence; `starters` often begin one; a pair of `collocations`
    holds no boundary; `seen` maps a word to the bits of how it is written (`LOWER`,
    `UPPER_INSIDE`, ...). A word that is not in `seen` and has one of the `endings` is taken for an
    ordinary word, written in lower case wherever no sentence begins.
    """

    abbreviations: frozenset[str]
    starters: frozenset[str]
    collocations: frozenset[tuple[str, str]]
    seen: Mapping[str, int]
    endings: tuple[str, ...] = ()

    def bits(self, word: str) -> int:
        """How `word` has been seen; 0 when nothing is known."""
        known = self.seen.get(word)
        if known is None:
            return LOWER & ~LOWER_FIRST if self.endings and word.endswith(self.endings) else 0
        return known


def read_knowledge(directory: Path) -> Knowledge:
    """Read an installed Punkt model, for instance `nltk_data/tokenizers/punkt_tab/english`.

    Raises UsageError naming the file that is missing.
    """

    def lines(name: str) -> list[str]:
        path = directory / name
        if not path.is_file():
            raise UsageError(f"punkt model: {path} is not a file; expected a punkt_tab directory")
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line]

    pairs = [line.split("\t") for line in lines("collocations.tab")]
    contexts = [line.split("\t") for line in lines("ortho_context.tab")]
    return Knowledge(
        abbreviations=frozenset(lines("abbrev_types.txt")),
        starters=frozenset(lines("sent_starters.txt")),
        collocations=frozenset((first, second) for first, second in pairs),
        seen={word: int(bits) for word, bits in contexts},
    )


def split_sentences(text: str, knowledge: Knowledge) -> list[str]:
    """The sentences of `text` in order, closing quotes and brackets with the one they close."""
    sentences: list[str] = []
    pieces = list(_pieces(text, knowledge))
    taken = 0  # characters of this piece that the sentence before has taken
    for index, (start, end) in enumerate(pieces):
        start += taken
        taken = 0
        if index + 1 < len(pieces):
            following, limit = pieces[index + 1]
            closing = _TRAILING_QUOTES.match(text, following, limit)
            if closing:
                taken = closing.end() - following
                end = following + len(closing[0].rstrip())
        if start < end:
            sentences.append(text[start:end])
    return sentences


def _pieces(text: str, knowledge: Knowledge) -> Iterator[tuple[int, int]]:
    start = 0
    for match, context in _candidates(text):
        if _holds_boundary(context, knowledge):
            yield start, match.end()
            start = match.start("next") if match["next"] else match.end()
    yield start, max(start, len(text.rstrip()))


def _candidates(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Each run of marks that may end a sentence, with the word before and the token after it."""
    before: tuple[re.Match[str], int] | None = None  # the last candidate, its word's start
    word_start, word_end = 0, 0
    for match in _CANDIDATE.finditer(text):
        space = max(text.rfind(mark, word_end, match.start()) for mark in _WHITESPACE)
        start = space + 1 if space > word_end else word_start
        if before is not None and word_end <= start:
            yield before[0], _context(text, *before)
        before = (match, start)
        word_start, word_end = start, match.start()
    if before is not None:
        yield before[0], _context(text, *before)


def _context(text: str, match: re.Match[str], word_start: int) -> str:
    return text[word_start : match.end("after")]


def _holds_boundary(context: str, knowledge: Knowledge) -> bool:
    tokens = [
        token for line in context.split("\n") if line.strip() for token in _TOKEN.findall(line)
    ]
    return any(
        _ends_sentence(token, following, knowledge)
        for token, following in itertools.pairwise(tokens)
    )


def _ends_sentence(token: str, following: str, knowledge: Knowledge) -> bool:
    if token in ("?", "!", "."):
        return True
    ellipsis = bool(_ELLIPSIS.match(token))
    if not token.endswith(".") or (token.endswith("..") and not ellipsis):
        return False
    abbreviation = not ellipsis and _is_abbreviation(token, knowledge)
    ends = not (ellipsis or abbreviation)
    initial = bool(_INITIAL.match(token))
    word = _type(token).removesuffix(".") or "."
    next_word = _next_type(following, knowledge)
    if (word, next_word) in knowledge.collocations:
        return False
    seen = knowledge.bits(next_word)
    upper = following[0].isupper()
    if (
        not (ends or initial)
        and upper
        and ((seen & LOWER and not seen & UPPER_INSIDE) or next_word in knowledge.starters)
    ):
        return True
    if initial or word == _NUMBER_TYPE:
        if _cannot_begin(following, seen):
            return False
        lower_only_name = upper and not seen & LOWER
        if initial and lower_only_name:
            return False
    return ends


def _cannot_begin(token: str, seen: int) -> bool:
    if token in (";", ":", ",", ".", "!", "?"):
        return True
    return token[0].islower() and (bool(seen & UPPER) or not seen & LOWER_FIRST)


def _is_abbreviation(token: str, knowledge: Knowledge) -> bool:
    word = token[:-1].lower()
    return word in knowledge.abbreviations or word.split("-")[-1] in knowledge.abbreviations


def _type(token: str) -> str:
    return _NUMBER.sub(_NUMBER_TYPE, token.lower())


def _next_type(token: str, knowledge: Knowledge) -> str:
    """The type of the word after the mark; its own period goes if it ends a sentence by itself."""
    word = _type(token)
    if len(word) < 2 or not word.endswith(".") or token.endswith(".."):
        return word
    return word if _is_abbreviation(token, knowledge) else word[:-1]
