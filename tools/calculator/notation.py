"""Read arithmetic as people and models write it, into a small tree.

The grammar is Python's, and beside it: `^` for power, `× ÷ · −`, `5!`, `x²`, `√9`, `π`,
`1,000` (not among the arguments of a function), `15%` and `15% of 80`. Where two readings
differ the text is refused with a `ToolError` that says what to write, never guessed at.
Nothing of Python is parsed or run; the text has no strings, attributes or assignments.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from qwq_env.errors import ToolError

MAX_CHARACTERS = 500
MAX_NODES = 200
MAX_DEPTH = 50
MAX_DECIMAL_EXPONENT = 2_000


class Number(NamedTuple):
    """A literal, exact: a decimal is a fraction."""

    value: int | Fraction


class Constant(NamedTuple):
    """A name that stands for a number."""

    name: str


class Negative(NamedTuple):
    """`-operand`."""

    operand: Node


class Percent(NamedTuple):
    """`operand%`: a hundredth."""

    operand: Node


class Binary(NamedTuple):
    """`left operator right`, the operator one of `+ - * / // % **`."""

    operator: str
    left: Node
    right: Node


class Call(NamedTuple):
    """A function of one or more arguments."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Constant | Negative | Percent | Binary | Call


class _Token(NamedTuple):
    kind: str  # number, name, symbol, end
    text: str
    start: int


_SAME = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "−": "-", "–": "-", "π": "pi"}
)
_DECIMAL = r"(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
_REST = (
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9.]*)"
    r"|(?P<symbol>\*\*|//|[-+*/%^(),!√²³])"
    r"|(?P<space>[ \t\r\n\u00a0]+)"
)
_OUTSIDE_CALL = re.compile(
    rf"(?P<number>[0-9]+(?:,[0-9]+)*{_DECIMAL}|\.[0-9]+(?:[eE][+-]?[0-9]+)?){_REST}"
)
_IN_CALL = re.compile(rf"(?P<number>[0-9]+{_DECIMAL}|\.[0-9]+(?:[eE][+-]?[0-9]+)?){_REST}")
_THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(?![0-9,])")
_LEADING_ZERO_GROUP = re.compile(r",0[0-9]{2}(?![0-9])")

_HINTS = {
    "=": "write only the expression, without '='",
    "$": "write numbers without currency signs or units",
    "€": "write numbers without currency signs or units",
    "\\": "LaTeX is not read here; write (1+2)/3, sqrt(2), 3*4",
    "{": "use ( and ) to group",
    "[": "use ( and ) to group",
    "<": "comparisons are not supported; compute both sides",
    ">": "comparisons are not supported; compute both sides",
    '"': "text is not supported, only numbers",
    "'": "text is not supported, only numbers",
    "|": "write abs(x) for |x|",
    ";": "one expression a call",
    ":": "one expression a call",
}


def parse(text: str) -> Node:
    """Return the tree of `text`; raise `ToolError` with advice if it is not one expression."""
    if len(text) > MAX_CHARACTERS:
        raise ToolError(
            f"the expression has {len(text)} characters, at most {MAX_CHARACTERS} are read; "
            "compute it in parts"
        )
    if not text.strip():
        raise ToolError("the expression is empty; write one like (3+4)*2")
    return _Parser(_tokens(text.translate(_SAME))).whole()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    in_call: list[bool] = []
    position = 0
    while position < len(text):
        inside = bool(in_call) and in_call[-1]
        match = (_IN_CALL if inside else _OUTSIDE_CALL).match(text, position)
        if match is None:
            raise _unreadable(text[position], position)
        kind, found = str(match.lastgroup), match[0]
        if kind == "number":
            _check_commas(found, text, match.end(), inside)
        elif found == "(":
            in_call.append(bool(tokens) and tokens[-1].kind == "name")
        elif found == ")" and in_call:
            in_call.pop()
        if kind != "space":
            tokens.append(_Token(kind, found, position))
        position = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


def _check_commas(number: str, text: str, end: int, in_call: bool) -> None:
    if in_call and _LEADING_ZERO_GROUP.match(text, end):
        raise ToolError(
            f"is {number}{text[end : end + 4]} one number or two arguments? "
            "Write numbers inside a function without thousands separators"
        )
    if "," in number and not _THOUSANDS.match(number):
        raise ToolError(
            f"{_short(number)} is not a number; write 1234.5 or 1,234.5, with a point for decimals"
        )


def _unreadable(character: str, position: int) -> ToolError:
    if character in _HINTS:
        return ToolError(f"unexpected {character!r}: {_HINTS[character]}")
    return ToolError(
        f"unexpected character {character!a} at position {position + 1}; "
        "write digits 0-9, + - * / // % ^ ( ) and functions such as sqrt(2)"
    )


_BINDING = {"+": 10, "-": 10, "*": 20, "/": 20, "//": 20, "%": 20, "**": 40, "^": 40}
_SIGN = 30
_POSTFIX = 50


class _Parser:
    """Precedence climbing over the tokens, counting nodes and depth as it goes."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.index = 0
        self.depth = 0
        self.nodes = 0

    def whole(self) -> Node:
        node = self.expression(0)
        token = self.tokens[self.index]
        if token.text == ",":
            raise ToolError("unexpected ','; write one expression, and decimals with a point")
        if token.kind != "end":
            raise ToolError(f"unexpected {token.text!r} at position {token.start + 1}")
        return node

    def expression(self, floor: int) -> Node:
        """Parse operators that bind tighter than `floor`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ToolError(f"nested deeper than {MAX_DEPTH} levels; compute it in parts")
        left = self.operand()
        while (grown := self.extended(left, floor)) is not None:
            left = grown
        self.depth -= 1
        return left

    def extended(self, left: Node, floor: int) -> Node | None:
        """Return `left` with the next operator and its operand, None if it ends here."""
        token = self.tokens[self.index]
        if token.text in ("!", "²", "³"):
            return self.postfix(left, token)
        if token.text == "%" and self.is_percent(token):
            self.index += 1
            return self.made(Percent(left))
        if token.text == "of" and _ends_in_percent(left):
            return self.binary("*", left, 20) if floor < 20 else None
        if token.kind in ("number", "name") or token.text in ("(", "√"):
            raise ToolError(
                f"an operator is missing before {_short(token.text)!r} at position "
                f"{token.start + 1}; write * to multiply"
            )
        binding = _BINDING.get(token.text, -1)
        if binding <= floor:
            return None
        if binding == 40:
            return self.binary("**", left, 39)
        return self.binary(token.text, left, binding)

    def binary(self, operator: str, left: Node, floor: int) -> Node:
        self.index += 1
        right = self.expression(floor)
        if operator == "**" and isinstance(right, Percent):
            raise ToolError("a percentage as an exponent is ambiguous; write x^(0.1) or (x^2)/100")
        return self.made(Binary(operator, left, right))

    def postfix(self, left: Node, token: _Token) -> Node:
        self.index += 1
        if token.text != "!":
            return self.made(Binary("**", left, Number(2 if token.text == "²" else 3)))
        if self.tokens[self.index].text == "!":
            raise ToolError("'!!' is ambiguous; write factorial(n), or the product itself")
        return self.made(Call("factorial", (left,)))

    def is_percent(self, token: _Token) -> bool:
        """Say whether this `%` ends a percentage, rather than asking for a remainder."""
        following = self.tokens[self.index + 1]
        before = self.tokens[self.index - 1]
        spaced_before = token.start > before.start + len(before.text)
        spaced_after = following.start > token.start + 1
        if following.text == "of":
            return True
        starts_operand = following.kind in ("number", "name") or following.text in ("(", "√")
        if starts_operand and spaced_after and not spaced_before:
            raise ToolError("'a% b' is ambiguous; write a % b for the remainder, or a/100*b")
        if following.text in ("+", "-") and spaced_before:
            raise ToolError("'%' before a sign is ambiguous; write mod(a, b), or a/100 + b")
        return not starts_operand

    def operand(self) -> Node:
        token = self.tokens[self.index]
        self.index += 1
        if token.kind == "number":
            return self.made(Number(_number(token.text)))
        if token.kind == "name":
            return self.named(token)
        if token.text == "-":
            return self.made(Negative(self.expression(_SIGN)))
        if token.text == "+":
            return self.expression(_SIGN)
        if token.text == "(":
            node = self.expression(0)
            self.close(token)
            return node
        if token.text == "√":
            return self.made(Call("sqrt", (self.expression(_POSTFIX),)))
        if token.kind == "end":
            raise ToolError("the expression ends where a number was expected")
        raise ToolError(f"unexpected {token.text!r} at position {token.start + 1}")

    def named(self, token: _Token) -> Node:
        name = token.text.removeprefix("math.")
        opening = self.tokens[self.index]
        if opening.text != "(":
            return self.made(Constant(name))
        self.index += 1
        arguments: list[Node] = []
        if self.tokens[self.index].text != ")":
            arguments.append(self.expression(0))
            while self.tokens[self.index].text == ",":
                self.index += 1
                arguments.append(self.expression(0))
        self.close(opening)
        return self.made(Call(name, tuple(arguments)))

    def close(self, opening: _Token) -> None:
        token = self.tokens[self.index]
        if token.text == ",":
            raise ToolError("unexpected ','; write decimals with a point, and one number at a time")
        if token.text != ")":
            where = f"'(' at position {opening.start + 1} is not closed"
            raise ToolError(where if token.kind == "end" else f"{where} before {token.text!r}")
        self.index += 1

    def made(self, node: Node) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ToolError(f"more than {MAX_NODES} operations and numbers; compute it in parts")
        return node


def _ends_in_percent(node: Node) -> bool:
    return isinstance(node, Percent) or (isinstance(node, Binary) and _ends_in_percent(node.right))


def _number(text: str) -> int | Fraction:
    digits = text.replace(",", "")
    if digits.isdigit():
        return int(digits)
    mantissa, _, exponent = digits.lower().partition("e")
    # Checked before 10**exponent is built: 1e999999999 must cost nothing.
    if exponent and (len(exponent) > 6 or abs(int(exponent)) > MAX_DECIMAL_EXPONENT):
        raise ToolError(f"{_short(text)}: exponents beyond {MAX_DECIMAL_EXPONENT} are not computed")
    whole, _, places = mantissa.partition(".")
    value = Fraction(int((whole + places) or "0"), 10 ** len(places))
    value *= Fraction(10) ** int(exponent or "0")
    return value.numerator if value.denominator == 1 else value


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:30]}..."
