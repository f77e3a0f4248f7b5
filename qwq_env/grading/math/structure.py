"""The shape of an answer: a value, a list, a tuple or interval, a set, a union, a relation, words.

`read_answer` cuts canonical text along commas, brackets and relations and leaves what is in
between as text (`Value`), because most answers are decided by their shape or by exact numbers
before anybody has to read an expression.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.expression import read
from qwq_env.grading.math.tree import TooComplex, Unreadable
from qwq_env.grading.math.units import Unit, compound, split_unit

__all__ = [
    "Answer", "Brackets", "Listing", "Matrix", "Ratio", "Relation", "Union", "Value", "Words",
    "is_name", "read_answer", "split", "values",
]  # fmt: skip

MAX_ITEMS = 200
MAX_LISTED = 10_000
"""Of a list, whose length alone tells it from another: whoever lists everything is to be wrong."""
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Value:
    """An expression, as text, with the unit that stood behind it (percent and degrees included)."""

    text: str
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words: `\\text{east}`, `Evelyn`, `(B)`; compared without regard to case."""

    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Answers side by side, `2, 3` or `\\{2, 3\\}` (`braces`): their order does not count."""

    items: tuple["Answer", ...]
    braces: bool = False


@dataclass(frozen=True, slots=True)
class Brackets:
    """`(a, b)`, `[a, b)`, `\\langle a, b\\rangle`: a tuple or an interval; the order counts."""

    items: tuple["Answer", ...]
    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class Union:
    """Sets joined by `\\cup`; their order does not count."""

    parts: tuple["Answer", ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`sides[0] signs[0] sides[1] ...`, as canonical text."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix or a vector; the kind of its brackets does not count but for `vmatrix`."""

    rows: tuple[tuple["Answer", ...], ...]
    text: str
    determinant: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a : b : c`, which also writes the time of day."""

    parts: tuple["Answer", ...]


Answer: TypeAlias = Value | Words | Listing | Brackets | Union | Relation | Matrix | Ratio

_STEP = re.compile(
    r"(?P<open>\\\{|[({\[]|\\begin\{[a-z]+\*?\}|\\langle|\\lfloor|\\lceil)"
    r"|(?P<close>\\\}|[)}\]]|\\end\{[a-z]+\*?\}|\\rangle|\\rfloor|\\rceil)"
    r"|\\[A-Za-z]+|\\."
)
_AND = (
    r",?\s*\\text\{\s*,?\s*(?:and|or)\s*\}\s*|,?\s+(?:and|or)\s+"
    r"|(?<=[\d)])\s*(?:and|or)\s*(?=[-\d(])"
)
_COMMA = re.compile(rf"{_AND}|[,;]")
_BRACKET = re.compile(r"\\.|[(){}]", re.DOTALL)
_SAME = {"(": ")", "{": "}"}
_SEMICOLON = re.compile(r";")
_CUP = re.compile(r"\\cup(?![A-Za-z])|\\text\{\s*U\s*\}|(?<=[)\]] )U(?= ?[(\[])")
_SIGN = re.compile(r"\\(?:leq|geq|neq|approx|in|equiv|sim)(?![A-Za-z])|[=<>]")
_COLON = re.compile(r":")
_THOUSANDS = re.compile(r"(?<![\d,.}])(\d{1,3}(?:,\d{3})+)(?![\d,])")
_LIST_BRACKET = re.compile(r"(?P<open>\\\{|\\langle|[(\[])|\\\}|\\rangle|[)\]]")
_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
# ]0, 1[ is (0, 1): a bracket that is turned away leaves its end out.
_TURNED_INTERVAL = re.compile(
    r"(?P<before>\A|\\cup\s*)(?P<left>[\[\]])(?P<ends>[^\[\](),;]+[,;][^\[\](),;]+)(?P<right>[\[\]])"
    r"(?=\s*(?:\\cup|\Z))"
)
_BASED_IN_BRACKETS = re.compile(r"\(\s*([0-9A-Z]+)\s*\)\s*_\s*(\{?\d{1,2}\}?)")
_MATRIX = re.compile(
    r"\\begin\{([bpvBV]?matrix|smallmatrix|array)\}(?:\{[clr| ]*\})?(.*)\\end\{\1\}", re.DOTALL
)
_ROW = re.compile(r"\\cr(?![A-Za-z])(?:\s*\[[^\]]*\])?")
_CELL = re.compile(r"&")
_WHOLE_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_WORDS = re.compile(r"(?:[A-Za-z]{3,}|[A-Za-z]{2,}(?:[ '-]+[A-Za-z]+)+|[Aa] [A-Za-z]{2,}.*)[.!?]?")
_CHOICE = re.compile(
    r"(?:[Oo]ption|[Cc]hoice|)\s*"
    r"(?:\(([A-Za-z])\):?|([A-Z])[).:]|(?<=[a-z] )([A-Z])(?=$))(?=[\s.]|$)"
)
_HEDGED_CHOICE = re.compile(r"(?<![A-Za-z])(?:or|not|maybe|perhaps)(?![A-Za-z])")
_CAPITAL = re.compile(r"(?<![A-Za-z])[A-Z](?![A-Za-z])")
_NOT_A_NAME = re.compile(r"[0-9+\-<>=^!]")
_SUBSCRIPT_OR_CALL = re.compile(r"_\{[^{}]*\}|_[A-Za-z0-9]|\([^()]*\)|'")
_TEXT_GROUP = re.compile(r"\\text\{[^{}]*\}")
_COMMAND_NAME = re.compile(r"\\([A-Za-z]+)")
_NAMING = frozenset(
    ["angle", "triangle", "overline", "bar", "vec", "hat", "tilde", "frac", "measuredangle",
     "alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau",
     "phi", "varphi", "chi", "psi", "omega", "varepsilon", "eta", "zeta", "kappa", "Delta",
     "Omega", "Phi", "Sigma", "Gamma", "Lambda", "Theta", "ell", "det", "mathbb"]
)  # fmt: skip
_PUNCTURED = re.compile(
    r"(?:\\mathbb\{R\}|\(-\\infty ?, ?\\infty ?\)) ?(?:\\setminus|-) ?\\\{(.*)\\\}"
)
_OUTSIDE = re.compile(
    r"\\mathbb\{R\} ?\\setminus ?(?P<left>[\[(])(?P<low>[^][(),\\]+),"
    r"(?P<high>[^][(),\\]+)(?P<right>[])])"
)
_NAMED_POINT = re.compile(r"[A-Z]\s*(?=\([^()]*,[^()]*\)\Z)")
# In \text{}: no word at all, several answers, or a number in front.
_NOT_PROSE = re.compile(rf"^(?:(?!.*[A-Za-z]{{2}})|.*(?:{_COMMA.pattern})|\s*\d)")
_SET_BUILDER = re.compile(
    r"\s*(?P<name>[A-Za-z](?:_\{?\w\}?)?)\s*(?:\\in\s*\\mathbb\{R\})?\s*(?:\||:)(?P<condition>.*)"
)
_LEADING_SIGN = re.compile(r"(?:=|\\approx(?![A-Za-z])|\\sim(?![A-Za-z])|:)\s*")
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])")


def read_answer(text: str, thousands: bool = True, depth: int = 0) -> Answer:
    """The shape of canonical `text`.

    With `thousands`, `1,234` outside of brackets is one number, otherwise a list of two. Raises
    `TooComplex` for more than `MAX_ITEMS` parts (`MAX_LISTED` in a list) or brackets nested deeper
    than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise TooComplex("brackets nested too deeply")
    text = _unwrapped(_peeled(text.strip()))
    if text in _NAMED_SETS:
        return _NAMED_SETS[text]
    if words := _words(text):
        return words
    if measured := compound(text):
        return Value(*measured)
    if thousands:
        text = _without_thousands(text)
    if "[" in text:
        text = _TURNED_INTERVAL.sub(_turned_back, text)
    if ";" in text and (tuples := _tuples(text, depth)):
        return tuples
    items = split(text, _COMMA, MAX_LISTED)
    if len(items) > 1:
        return Listing(_flat(read_answer(item, thousands, depth + 1) for item in items if item))
    if punctured := _PUNCTURED.fullmatch(text):
        return _line_without(punctured[1])
    if outside := _OUTSIDE.fullmatch(text):
        low, high = Value(outside["low"].strip()), Value(outside["high"].strip())
        before = Brackets((Value("-\\infty"), low), "(", "]" if outside["left"] == "(" else ")")
        after = Brackets((high, Value("\\infty")), "[" if outside["right"] == ")" else "(", ")")
        return Union((before, after))
    if "\\cup" in text or "U" in text:
        parts = split(text, _CUP)
        if len(parts) > 1:
            return _united(tuple(read_answer(part, False, depth + 1) for part in parts))
    sides, signs = _related(text)
    if signs:
        if signs == ("\\in",) and is_name(sides[0]):
            return read_answer(sides[1], False, depth + 1)
        return Relation(sides, signs)
    return _single(text, thousands, depth)


_LINE = Brackets((Value("-\\infty"), Value("\\infty")), "(", ")")
_NAMED_SETS: dict[str, Answer] = {
    "\\mathbb{R}": _LINE,
    "\\emptyset": Listing((), braces=True),
    "\\{ \\}": Listing((), braces=True),
    "all real numbers": _LINE,
    "\\text{all real numbers}": _LINE,
}


def _line_without(points: str) -> Answer:
    """The real line without some points, as the union of the intervals between them."""
    items = [item for item in split(points, _COMMA) if item]
    try:
        items.sort(key=lambda item: exact_value(read(item)) or 0)
    except (Unreadable, ZeroDivisionError):
        pass  # compared as written
    ends = ["-\\infty", *items, "\\infty"]
    return Union(
        tuple(Brackets((Value(low), Value(high)), "(", ")") for low, high in pairwise(ends))
    )


def _turned_back(interval: re.Match[str]) -> str:
    left = interval["left"].replace("]", "(")
    return interval["before"] + left + interval["ends"] + interval["right"].replace("[", ")")


def _united(parts: tuple[Answer, ...]) -> Answer:
    """A union, which is one set when all of its parts are finite."""
    items: list[Answer] = []
    for part in parts:
        if not isinstance(part, Listing) or not part.braces:
            return Union(parts)
        items.extend(part.items)
    return Listing(tuple(items), braces=True)


def _tuples(text: str, depth: int) -> Answer | None:
    """`a, b; c, d` as a list of tuples; None when the groups are not of one size above one."""
    groups = [split(group, _COMMA) for group in split(text, _SEMICOLON, MAX_LISTED)]
    if len(groups) < 2 or len(groups[0]) < 2 or len({len(group) for group in groups}) > 1:
        return None
    return Listing(
        tuple(
            Brackets(tuple(read_answer(item, False, depth + 1) for item in group), "(", ")")
            for group in groups
        )
    )


def values(answer: Answer) -> list[str]:
    """The texts of all expressions in an answer."""
    if isinstance(answer, Value):
        return [answer.text]
    if isinstance(answer, Words):
        return []
    if isinstance(answer, Relation):
        return [text for side in answer.sides for text in values(read_answer(side, False, 1))]
    if isinstance(answer, Matrix):
        return [text for row in answer.rows for cell in row for text in values(cell)]
    parts = answer.items if isinstance(answer, Listing | Brackets) else answer.parts
    return [text for part in parts for text in values(part)]


def _single(text: str, thousands: bool, depth: int) -> Answer:
    if matrix := _matrix(text, depth):
        return matrix
    text = _NAMED_POINT.sub("", text)
    if bracketed := _bracketed(text, depth):
        return bracketed
    ratio = split(text, _COLON)
    if len(ratio) > 1 and all(ratio):
        return Ratio(tuple(read_answer(part, False, depth + 1) for part in ratio))
    found = _PLUS_MINUS.search(text)
    if found:
        plus = _PLUS_MINUS.sub(lambda sign: " + " if sign[1] == "pm" else " - ", text)
        minus = _PLUS_MINUS.sub(lambda sign: " - " if sign[1] == "pm" else " + ", text)
        return Listing((Value(plus.strip()), Value(minus.strip())))
    if based := _BASED_IN_BRACKETS.fullmatch(text):
        text = f"{based[1]}_{based[2]}"
    return Value(*split_unit(text))


def split(text: str, separator: re.Pattern[str], most: int = MAX_ITEMS) -> list[str]:
    """Cut `text` at the separators that stand outside of all brackets; parts are stripped.

    Raises `TooComplex` for more than `most` parts.
    """
    if not separator.search(text):
        return [text.strip()]
    parts: list[str] = []
    level = start = position = 0
    while position < len(text):
        found = separator.match(text, position) if level == 0 else None
        if found and found.end() > position:
            parts.append(text[start:position].strip())
            start = position = found.end()
            if len(parts) > most:
                raise TooComplex("too many parts")
            continue
        step = _STEP.match(text, position)
        if step:
            level = max(level + (1 if step["open"] else -1 if step["close"] else 0), 0)
            position = step.end()
        else:
            position += 1
    parts.append(text[start:].strip())
    return parts


def is_name(text: str) -> bool:
    """Whether the text names a quantity (`x`, `f(x)`, `|AB|`, `a_{3}`) and does not compute one."""
    rest = _TEXT_GROUP.sub("A", text.strip())
    for _ in range(3):
        rest = _SUBSCRIPT_OR_CALL.sub("", rest)
    rest = rest.strip()
    if not rest:
        return bool(re.search(r"\([^()0-9]*[A-Za-z]", text))
    commands = _COMMAND_NAME.findall(rest)
    if _NOT_A_NAME.search(rest) or not set(commands) <= _NAMING:
        return False
    if commands or "|" in rest or ":" in rest or "/" in rest:
        return True
    letters = "".join(re.findall(r"[A-Za-z]", rest))
    return len(letters) == 1 or letters.isupper() or (len(letters) == 2 and letters[0] == "d")


def _unwrapped(text: str) -> str:
    """Drop braces, and `\\text{}` around what is no prose, that enclose the whole answer."""
    for _ in range(MAX_DEPTH):
        text = text.strip()
        whole = _WHOLE_TEXT.fullmatch(text)
        sign = _LEADING_SIGN.match(text)
        if whole and _NOT_PROSE.search(whole[1]):
            text = whole[1]
        elif sign and sign.end() < len(text):
            text = text[sign.end() :]
        elif text[:1] == "{" and _encloses(text):
            text = text[1:-1]
        else:
            break
    return text


def _peeled(text: str) -> str:
    """`(7)` for `(((7)))`: of the same brackets around the whole, all but one say nothing."""
    opening = text[:1]
    if opening not in _SAME or text[1:2] != opening:
        return text
    closing = _SAME[opening]
    begin = len(text) - len(text.lstrip(opening))
    end = len(text.rstrip(closing))
    around = level = begin
    for step in _BRACKET.finditer(text, begin, end):
        level += (step[0] == opening) - (step[0] == closing)
        around = min(around, level)
    surplus = around - 1
    if level != len(text) - end or surplus < 1:
        return text
    return text[surplus:-surplus]


def _encloses(text: str) -> bool:
    """Whether the bracket that opens the text is closed by the one that ends it."""
    level = 0
    for step in _STEP.finditer(text):
        level += 1 if step["open"] else -1 if step["close"] else 0
        if level == 0:
            return step.end() == len(text)
    return False


def _words(text: str) -> Words | None:
    plain = _WHOLE_TEXT.sub(lambda group: " " + group[1] + " ", text).strip()
    plain = re.sub(r"\s+", " ", plain)
    if choice := _CHOICE.match(plain):
        letter = choice[1] or choice[2] or choice[3]
        others = [found for found in _CAPITAL.findall(plain) if found != letter.upper()]
        whole = len(plain.rstrip(". ")) <= len(choice[0])
        hedged = _HEDGED_CHOICE.search(plain, choice.end())
        if not others and (whole or (choice[1] != (choice[1] or "").lower() and not hedged)):
            return Words(f"({letter.upper()})")
    if not _WORDS.fullmatch(plain) or re.search(r"[\\^_=<>+*/{}\d]", plain):
        return None
    if re.search(r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])", plain) and "\\text" not in text:
        return None
    return Words(plain.rstrip(".!? ").casefold().replace("solutions", "solution"))


def _without_thousands(text: str) -> str:
    if _SPACED_THOUSANDS.fullmatch(text):
        return text.replace(" ", "")
    if "," not in text:
        return text
    if re.match(r"[(\[]|\\\{|\\langle", text) and _encloses(text):
        return text
    return "".join(
        part if inside else _THOUSANDS.sub(lambda found: found[1].replace(",", ""), part)
        for part, inside in _bracketed_parts(text)
    )


def _bracketed_parts(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, each with whether it stands in brackets, where commas part the items."""
    pieces: list[tuple[str, bool]] = []
    level = start = 0
    for bracket in _LIST_BRACKET.finditer(text):
        opens = bracket["open"] is not None
        if opens and level == 0:
            pieces.append((text[start : bracket.start()], False))
            start = bracket.start()
        elif not opens and level == 1:
            pieces.append((text[start : bracket.end()], True))
            start = bracket.end()
        level = max(level + (1 if opens else -1), 0)
    pieces.append((text[start:], level > 0))
    return pieces


def _flat(items: "object") -> tuple[Answer, ...]:
    flat: list[Answer] = []
    for item in items:  # type: ignore[attr-defined]
        if isinstance(item, Listing) and not item.braces:
            flat.extend(item.items)
        else:
            flat.append(item)
    return tuple(flat)


def _related(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    sides: list[str] = []
    signs: list[str] = []
    rest = text
    for side in split(text, _SIGN):
        sides.append(side)
        rest = rest.lstrip()[len(side) :].lstrip()
        if found := _SIGN.match(rest):
            signs.append(found[0])
            rest = rest[found.end() :]
    return tuple(sides), tuple(signs)


def _matrix(text: str, depth: int) -> Matrix | None:
    if text[:1] in ("(", "[") and _encloses(text) and ("matrix}" in text or "{array}" in text):
        text = text[1:-1].strip()
    found = _MATRIX.fullmatch(text)
    if not found or "\\begin" in found[2]:
        return None
    rows = [row.strip() for row in split(found[2], _ROW)]
    cells = [
        tuple(read_answer(cell, False, depth + 1) for cell in split(row, _CELL))
        for row in rows
        if row
    ]
    if sum(len(row) for row in cells) > MAX_ITEMS:
        raise TooComplex("a matrix with too many cells")
    return Matrix(tuple(cells), text, found[1] in ("vmatrix", "Vmatrix"))


_PAIRS = ("\\{", "(", "[", "\\langle", "]")


def _bracketed(text: str, depth: int) -> Answer | None:
    opening = next((pair for pair in _PAIRS if text.startswith(pair)), None)
    if opening is None or not _encloses(text):
        return None
    closing = next((end for end in ("\\}", ")", "]", "\\rangle") if text.endswith(end)), None)
    if closing is None:
        return None
    inner = text[len(opening) : -len(closing)].strip()
    if opening == "\\{":
        if closing != "\\}":
            return None
        if described := _SET_BUILDER.fullmatch(inner):
            return read_answer(described["condition"], False, depth + 1)
        items = split(inner, _COMMA, MAX_LISTED) if inner else []
        return Listing(_flat(read_answer(item, False, depth + 1) for item in items), braces=True)
    items = split(inner, _SEMICOLON, MAX_LISTED)
    if len(items) == 1:
        items = split(inner, _COMMA, MAX_LISTED)
    if len(items) == 1:
        # Brackets around a single answer say nothing.
        return read_answer(inner, False, depth + 1) if opening == "(" and closing == ")" else None
    return Brackets(tuple(read_answer(item, False, depth + 1) for item in items), opening, closing)
