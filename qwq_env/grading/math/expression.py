"""Canonical LaTeX read into a tree of numbers, symbols and calls.

The reader knows the notation in which final answers are written: fractions, roots, powers, implied
products, mixed numbers, the elementary functions with and without brackets, factorials, binomials,
absolute values. What it does not know it refuses (`Unreadable`), and then math-verify reads it.
Nothing is evaluated here, and nothing that the model wrote is ever executed.
"""

import re
from fractions import Fraction

from qwq_env.grading.math.tokens import tokens_of
from qwq_env.grading.math.tree import Call, Node, Number, Symbol, TooComplex, Unreadable

__all__ = ["COMMANDS", "is_proper_fraction", "read"]

MAX_DEPTH = 40

_FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "sinh",
     "cosh", "tanh", "ln", "log", "lg", "exp"]
)  # fmt: skip
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_GREEK = frozenset(
    ["alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "iota", "kappa",
     "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
     "varphi", "vartheta", "varrho", "varsigma", "Gamma", "Delta", "Theta", "Lambda", "Xi",
     "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell", "hbar"]
)  # fmt: skip
_MARKED = frozenset(
    ["overline", "bar", "vec", "hat", "tilde", "widehat", "widetilde", "underline", "dot", "mathbb"]
)
COMMANDS = (
    _FUNCTIONS
    | _GREEK
    | _MARKED
    | {"frac", "binom", "sqrt", "pi", "infty", "cdot", "lfloor", "rfloor", "lceil", "rceil", "max"}
    | {"min", "gcd", "lcm", "sum", "prod", "circ", "imath"}
)
"""The commands that the reader knows, without the backslash."""
_REPEATING = frozenset(["\\overline", "\\bar", "\\dot"])
_BRACKETS = {"\\{": "\\}", "(": ")", "[": "]", "{": "}"}
_CLOSING = _BRACKETS | {"\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_OPAQUE = frozenset("fghFGHPQ")
_ENDS = frozenset(
    [")", "]", "}", "\\}", "\\rfloor", "\\rceil", "+", "-", "/", "\\cdot", ",", "=", ""]
)
_SUBSCRIPT = re.compile(r"[A-Za-z0-9,]{1,24}")


def read(text: str) -> Node:
    """The tree of a canonical expression. Raises `Unreadable` or `TooComplex`."""
    reader = _Reader(tokens_of(text))
    node = reader.sum(0)
    if reader.peek() != "":
        raise Unreadable(f"unexpected {reader.peek()!r}")
    return node


def _number(token: str) -> Number:
    return Number(Fraction(token.rstrip(".")))


class _Reader:
    """A recursive-descent reader over tokens; `level` is the depth of brackets."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, ""]
        self.at = 0
        self.bars = 0
        self.indices: list[str] = []  # of the sums around the place that is read

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.tokens[self.at]
        if token:
            self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise Unreadable(f"expected {token!r}")

    def sum(self, level: int) -> Node:
        if level > MAX_DEPTH:
            raise TooComplex("the expression is nested too deeply")
        terms = [self.product(level)]
        while self.peek() in ("+", "-"):
            negative = self.take() == "-"
            term = self.product(level)
            terms.append(Call("neg", (term,)) if negative else term)
        return terms[0] if len(terms) == 1 else Call("add", tuple(terms))

    def product(self, level: int) -> Node:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.take() == "-"
        node = self.power(level)
        while True:
            token = self.peek()
            if token in ("\\cdot", "/"):
                self.take()
                factor = self.signed_power(level)
                node = Call("div" if token == "/" else "mul", (node, factor))
            elif self.starts_factor(token):
                node = Call("mul", (node, self.power(level)))
            else:
                return Call("neg", (node,)) if negative else node

    def starts_factor(self, token: str) -> bool:
        if token in _ENDS or token in ("^", "_", "!", "'", "mixed", "<", ">", ":"):
            return False
        return not (token == "|" and self.bars)

    def signed_power(self, level: int) -> Node:
        if self.peek() == "-":
            self.take()
            return Call("neg", (self.power(level),))
        return self.power(level)

    def power(self, level: int) -> Node:
        node = self.atom(level)
        while True:
            token = self.peek()
            if token == "!":
                self.take()
                double = self.peek() == "!"
                if double:
                    self.take()
                node = Call("factorial2" if double else "factorial", (node,))
            elif token == "^":
                self.take()
                if self.peek() == "\\circ":
                    self.take()
                    node = Call("degrees", (node,))
                else:
                    node = Call("pow", (node, self.exponent(level)))
            else:
                return node

    def exponent(self, level: int) -> Node:
        if self.peek() == "-":
            self.take()
            return Call("neg", (self.atom(level + 1),))
        node = self.group(level) if self.peek() == "{" else self.atom(level + 1)
        if self.peek() == "^":  # 9^9^9 is 9^(9^9)
            self.take()
            if level > MAX_DEPTH:
                raise TooComplex("a tower of powers")
            return Call("pow", (node, self.exponent(level + 1)))
        return node

    def group(self, level: int) -> Node:
        opening = self.take()
        if opening not in _CLOSING:
            raise Unreadable(f"expected a group, got {opening!r}")
        bars, self.bars = self.bars, 0
        node = self.sum(level + 1)
        self.bars = bars
        self.expect(_CLOSING[opening])
        return node

    def piece(self, level: int) -> Node:
        """The argument of a command: a group, or one token, of a number its first digit."""
        token = self.peek()
        if token == "{":
            return self.group(level)
        if len(token) > 1 and token[0].isdigit():
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.atom(level + 1)

    def atom(self, level: int) -> Node:
        token = self.peek()
        if token[:1].isdigit() or token[:1] == ".":
            return self.numeral(level)
        if len(token) == 1 and token.isalpha():
            return self.letter(level)
        if token in ("(", "[", "{"):
            return self.group(level)
        if token == "|":
            self.take()
            self.bars += 1
            node = self.sum(level + 1)
            self.bars -= 1
            self.expect("|")
            return Call("abs", (node,))
        if token.startswith("\\"):
            return self.command(level)
        raise Unreadable(f"unexpected {token!r}")

    def numeral(self, level: int) -> Node:
        token = self.take()
        node = _number(token)
        if self.peek() == "mixed":
            self.take()
            top, _, bottom = self.take(), self.take(), self.take()
            return Call("add", (node, Call("div", (_number(top), _number(bottom)))))
        if self.peek() in _REPEATING and "." in token:
            return self.repeating(token)
        if token.isdigit() and self.peek() == "\\frac":
            place = self.at
            part = self.command(level)
            if is_proper_fraction(part):
                return Call("add", (node, part))
            self.at = place
        return node

    def repeating(self, token: str) -> Node:
        self.take()
        self.expect("{")
        period = self.take()
        self.expect("}")
        if not period.isdigit() or len(period) > 30:
            raise Unreadable("a period of digits was expected")
        if self.peek()[:1].isdigit() or self.peek() in _REPEATING:
            raise Unreadable("digits behind a period")
        places = len(token.partition(".")[2])
        tail = Fraction(int(period), (10 ** len(period) - 1) * 10**places)
        return Number(Fraction(token.rstrip(".")) + tail)

    def letter(self, level: int) -> Node:
        node = self.indexed(self.take(), level)
        if not isinstance(node, Symbol):
            return node
        name = node.name
        while self.peek() == "'":
            name += self.take()
        if name.rstrip("'") in _OPAQUE and self.peek() == "(":
            self.take()
            arguments = [self.sum(level + 1)]
            while self.peek() == ",":
                self.take()
                arguments.append(self.sum(level + 1))
            self.expect(")")
            return Call(f"opaque:{name}", tuple(arguments))
        return Symbol(name)

    def indexed(self, name: str, level: int) -> Node:
        """A name with its subscript: a symbol, or a sequence when the subscript is computed."""
        if self.peek() != "_":
            return Symbol(name)
        self.take()
        place = self.at
        content = self.take()
        if content == "{":
            content = ""
            while self.peek() not in ("}", ""):
                content += self.take()
            self.expect("}")
        if _SUBSCRIPT.fullmatch(content) and content not in self.indices:
            return Symbol(f"{name}_{{{content}}}")
        self.at = place
        index = self.group(level) if self.peek() == "{" else self.atom(level + 1)
        return Call(f"opaque:{name}_", (index,))

    def addition(self, name: str, level: int) -> Node:
        """`\\sum_{k=1}^{n}` or `\\prod`, up to the next plus or minus."""
        low = high = None
        index = ""
        for _ in range(2):
            if self.peek() == "_" and low is None:
                self.take()
                self.expect("{")
                index = self.take()
                if len(index) != 1 or not index.isalpha():
                    raise Unreadable("a sum without an index")
                self.expect("=")
                low = self.sum(level + 1)
                self.expect("}")
            elif self.peek() == "^" and high is None:
                self.take()
                high = self.exponent(level)
        if low is None or high is None:
            raise Unreadable("a sum without bounds")
        self.indices.append(index)
        body = self.product(level + 1)
        self.indices.pop()
        return Call("sum" if name == "sum" else "prod", (Symbol(index), low, high, body))

    def command(self, level: int) -> Node:
        name = self.take()[1:]
        if name in ("frac", "binom"):
            top, bottom = self.piece(level), self.piece(level)
            return Call("div" if name == "frac" else "binom", (top, bottom))
        if name == "sqrt":
            return self.root(level)
        if name in _FUNCTIONS:
            return self.function(name, level)
        if name in ("lfloor", "lceil"):
            self.at -= 1
            return Call("floor" if name == "lfloor" else "ceil", (self.group(level),))
        if name == "pi":
            return Symbol("pi")
        if name == "infty":
            return Symbol("infty")
        if name == "imath":
            return Symbol("i")
        if name in _GREEK:
            return self.indexed("\\" + name, level)
        if name in ("max", "min", "gcd", "lcm"):
            return self.variadic(name, level)
        if name in _MARKED:
            return self.marked(name, level)
        if name in ("sum", "prod"):
            return self.addition(name, level)
        raise Unreadable(f"unknown command \\{name}")

    def root(self, level: int) -> Node:
        degree: Node = Number(Fraction(2))
        if self.peek() == "[":
            degree = self.group(level)
        radicand = self.group(level) if self.peek() in ("{", "(") else self.atom(level)
        return Call("root", (radicand, degree))

    def variadic(self, name: str, level: int) -> Node:
        opening = self.take()
        if opening not in ("(", "{", "\\{"):
            raise Unreadable(f"\\{name} without a list")
        arguments = [self.sum(level + 1)]
        while self.peek() == ",":
            self.take()
            arguments.append(self.sum(level + 1))
        self.expect(_CLOSING[opening])
        return Call(name, tuple(arguments))

    def marked(self, name: str, level: int) -> Node:
        self.expect("{")
        content = ""
        while self.peek() not in ("}", ""):
            token = self.take()
            if not token.isalnum():
                raise Unreadable(f"an expression under \\{name}")
            content += token
        self.expect("}")
        return self.indexed(f"\\{name}{{{content}}}", level)

    def function(self, name: str, level: int) -> Node:
        base: Node | None = None
        exponent: Node | None = None
        while self.peek() in ("_", "^"):
            if self.take() == "_":
                base = self.group(level) if self.peek() == "{" else self.atom(level)
            else:
                exponent = self.exponent(level)
        if exponent == Call("neg", (Number(Fraction(1)),)) and name in _INVERSE:
            name, exponent = _INVERSE[name], None
        argument = self.argument(level)
        if base is not None:
            node = Call("logbase", (argument, base))
        else:
            node = Call("log10" if name == "lg" else name, (argument,))
        return node if exponent is None else Call("pow", (node, exponent))

    def argument(self, level: int) -> Node:
        if level > MAX_DEPTH:
            raise TooComplex("functions nested too deeply")
        if self.peek() in ("(", "[", "{", "|"):
            return self.atom(level)
        if self.peek()[1:] in _FUNCTIONS:
            return self.command(level + 1)
        node = self.power(level + 1)
        while True:
            token = self.peek()
            bare = (len(token) == 1 and token.isalpha()) or token[1:] in _GREEK or token == "\\pi"
            if not bare:
                return node
            node = Call("mul", (node, self.power(level + 1)))


def is_proper_fraction(part: Node) -> bool:
    """Whether a fraction after a whole number makes a mixed number with it (5 1/2)."""
    if not isinstance(part, Call) or part.name != "div":
        return False
    top, bottom = part.arguments
    return (
        isinstance(top, Number)
        and isinstance(bottom, Number)
        and top.value.denominator == bottom.value.denominator == 1
        and 0 < top.value < bottom.value
    )
