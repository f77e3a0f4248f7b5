"""The tests' side of a test script: runs the dataset's own test code, away from the solution.

The source of this module (and of `callee`, which it imports) is the program of a process of its
own in the sandbox. There the test code runs as it was published, with loops, helpers and random
numbers from a fixed seed. A call of the solution is not made here: it is looked up among the
answers that are known; what is not yet known is asked for, and the test code runs on as far as it
gets without the value, so that most scripts ask for all their calls at once. The host has them
answered and plays the script again. The verdict is that of a play in which nothing was unknown.

So what the tests expect stays in this process, and nothing comes in but text, of which plain
values of exact builtin types are made. What a policy's value costs here, this process pays.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import io
import json
import random
import sys
from typing import Any, NoReturn

from qwq_env.grading.code.callee import NotPlain, decode, encode

MOST_CALLS = 20_000
MOST_AHEAD = 500
"""Calls that one play asks for: the test code may have gone astray without their values."""
_MOST_ASKED = 2_000_000
_OPERATIONS = """
    len iter next reversed contains getitem setitem delitem call hash index int float complex
    str repr format bytes abs neg pos invert round trunc floor ceil enter exit eq ne lt le gt ge add
    sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift radd rsub rmul rtruediv
    rfloordiv rmod rdivmod rpow rmatmul rand ror rxor iadd isub imul
"""


class _Waiting(BaseException):
    """A value was used that no call has given yet."""


class _Unusable(BaseException):
    """The tests themselves cannot be run so."""


class _Enough(BaseException):
    """As many assertions were seen as are wanted."""


class _Lost(BaseException):
    """The process of the solution gave no answer; the message is what became of it."""


class _Raised:
    """What a known answer raised: the wrong answer is then the solution's error."""

    latest: BaseException | None = None


class _Object:
    """What a call returns while its value is unknown, or where it is none that can travel.

    It may be passed on to another call of the solution, where `recipe` stands for it.
    """

    recipe: Any = None

    def __init__(self, recipe: Any, why: BaseException, truth: bool | None = None) -> None:
        self.__dict__.update(recipe=recipe, why=why, truth=truth)

    def __bool__(self) -> bool:
        if self.__dict__["truth"] is None:
            raise self.__dict__["why"]
        return bool(self.__dict__["truth"])

    def __getattr__(self, name: str) -> NoReturn:
        raise self.__dict__["why"]

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise self.__dict__["why"]


def _refuse(self: _Object, *_arguments: Any) -> NoReturn:
    raise self.__dict__["why"]


for _operation in _OPERATIONS.split():
    setattr(_Object, f"__{_operation}__", _refuse)


class _Function:
    """A function of the solution, for the test code."""

    recipe: Any = None

    def __init__(self, play: Play, path: str) -> None:
        self.recipe = {"name": path}
        self.__name__ = path
        self._play = play

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.__name__ == "Solution" and not arguments and not named:
            return _Solution(self._play)
        return self._play.ask(self.__name__, arguments, named)


class _Solution:
    """An instance of the solution's class `Solution`."""

    def __init__(self, play: Play) -> None:
        self.__dict__["play"] = play

    def __getattr__(self, name: str) -> _Function:
        return _Function(self.__dict__["play"], f"Solution.{name}")


class _Nowhere(io.TextIOBase):
    """Where goes what the test code prints."""

    def write(self, text: str) -> int:
        return len(text)


class Play:
    """One run of the test code against the answers that are known."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.asked: list[str] = []
        self.agreed = 0
        self.asserted = 0
        self.failed: list[tuple[int, str]] = []
        self.unknown = False
        self.lost = ""
        self.ends_at = 0

    def ask(self, path: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return what is known of this call, or an object that stands for it."""
        try:
            recipe = {"call": [path, encode(list(arguments)), encode(named)]}
        except NotPlain as error:
            raise _Unusable(f"a call of {path}: {error}") from None
        number = len(self.asked)
        if number >= MOST_CALLS:
            raise self._loss("timeout")
        if number - self.agreed >= MOST_AHEAD:
            raise _Waiting
        question = json.dumps(recipe)
        self.asked.append(question)
        known = self.order["known"]
        digest = hashlib.sha256(question.encode()).hexdigest()
        if self.unknown or number >= len(known) or known[number][0] != digest:
            self.unknown = True
            return _Object(recipe, _Waiting())
        self.agreed += 1
        _, status, text = known[number]
        if status not in ("ok", "error"):
            raise self._loss(status)
        return _answered(recipe, status, text, arguments)

    def _loss(self, status: str) -> _Lost:
        self.lost = self.lost or status
        return _Lost(status)

    def tolerated(self, in_assertion: bool) -> tuple[type[BaseException], ...]:
        """Return what may end a statement of the tests without ending the play."""
        error = sys.exc_info()[1]
        if self.is_their_fault(error):
            return ()
        failed = _failure(error)
        if self.unknown:
            return (*failed, _Waiting)
        if self.order["to_the_end"]:
            return (*failed, _Lost)
        if in_assertion:
            self.ends_at = self.asserted
        return ()

    def is_their_fault(self, error: BaseException | None) -> bool:
        """Whether the test code uses a name or a module that is nowhere: no solution can mend it.

        A name that it binds itself, in a loop over what the solution returned, is none of those.
        """
        if error is _Raised.latest or not isinstance(error, NameError):
            return error is not _Raised.latest and isinstance(error, ImportError)
        nodes = (node for source in self.order["sources"] for node in ast.walk(ast.parse(source)))
        names = (node for node in nodes if isinstance(node, ast.Name))
        bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        # Of a local name that is bound nowhere yet, Python does not tell the name.
        return error.name is not None and error.name not in bound

    def begin(self) -> None:
        """Count an assertion."""
        if self.asserted == self.order["most"]:
            raise _Enough
        self.asserted += 1

    def fail(self) -> None:
        """Note that the assertion which was begun last has failed."""
        if not self.unknown:
            self.failed.append((self.asserted, _reason(sys.exc_info()[1])))

    def run(self) -> str | None:
        """Run the script; None, or why it ended before its end."""
        for number, source in enumerate(self.order["sources"]):
            if number == 1:
                # What comes before the tests hides no function of the solution, as in one program.
                for name in ("eval", "exec", *self.order["functions"]):
                    self.names.pop(name, None)
            tree = _Doubting().visit(ast.parse(source))
            code = compile(ast.fix_missing_locations(tree), "<tests>", "exec")
            try:
                exec(code, self.names)
            except BaseException as error:  # the boundary to the test code
                if not isinstance(error, (*_failure(error), _Lost)):
                    raise
                if self.is_their_fault(error):
                    raise _Unusable(f"{type(error).__name__}: {error}") from None
                self.failed.append((self.ends_at or self.asserted + 1, _reason(error)))
                return f"{type(error).__name__}: {error}"[:300]
        return None

    def report(self) -> dict[str, Any]:
        """Run the script and say what came of it."""
        report: dict[str, Any] = {"ended": None, "unusable": None}
        try:
            report["ended"] = self.run()
        except _Waiting:
            report["ended"] = "waiting"
        except _Enough:
            pass
        except _Unusable as error:
            report["unusable"] = str(error)[:300]
        if self.lost and not self.failed:
            # A bare `except` of the tests has passed over it.
            self.failed.append((max(1, self.asserted), self.lost))
        report |= {"unknown": self.unknown, "agreed": self.agreed, "asserted": self.asserted}
        return report | {"failed": self.failed, "asked": self._to_ask()}

    def _to_ask(self) -> list[str]:
        asked, length = self.asked[self.agreed : self.agreed + 1], 0
        for question in self.asked[self.agreed + 1 :]:
            length += len(question)
            if length > _MOST_ASKED:
                break
            asked.append(question)
        return asked

    def prepare(self) -> None:
        """Make the names that the test code finds, the solution's functions among them."""
        self.names: dict[str, Any] = {"__name__": "tests"}
        known = dict(builtins.__dict__, eval=_no_text_as_code, exec=_no_text_as_code)
        known |= {name: _Function(self, name) for name in self.order["functions"]}
        # Where no name of the script or of its prelude hides them, as the solution's would lie.
        self.names["__builtins__"] = known
        self.names |= {"__begin__": self.begin, "__fail__": self.fail}
        self.names["__tolerated__"] = self.tolerated


class _Doubting(ast.NodeTransformer):
    """Puts each assertion and each bare expression into a `try` of its own; see `tolerated`."""

    def visit(self, node: ast.AST) -> Any:
        # Expressions hold no statements, and those of EvalPlus a megabyte of numbers.
        return node if isinstance(node, ast.expr) else super().visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        # HumanEval begins and ends its tests with `assert True`.
        return node if isinstance(node.test, ast.Constant) else _doubted(node, counted=True)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else _doubted(node, counted=False)


def _doubted(statement: ast.stmt, counted: bool) -> ast.AST:
    # A bare expression that ends by an exception counts as an assertion that has failed.
    begin, late = ("__begin__()", "") if counted else ("0", "__begin__();")
    source = f"try:\n {begin}\nexcept __tolerated__({counted}):\n {late}__fail__()"
    block = ast.parse(source).body[0]
    assert isinstance(block, ast.Try)
    block.body.append(statement)
    return ast.copy_location(block, statement)


def _answered(recipe: Any, status: str, text: str, arguments: tuple[Any, ...]) -> Any:
    if status == "error":
        _Raised.latest = _exception(text)
        raise _Raised.latest
    try:
        said = json.loads(text)
        for argument, after in zip(arguments, said.get("after", ()), strict=False):
            if after is not None:
                _change(argument, decode(after))
        if "value" in said:
            return decode(said["value"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        _Raised.latest = TypeError(f"no plain value: {error}")
        raise _Raised.latest from None
    truth = said.get("object") is True
    return _Object(recipe, TypeError("an object of the solution's own"), truth)


def _change(argument: Any, after: Any) -> None:
    """Let a call have changed its argument in place, as it has in the solution's process."""
    if isinstance(argument, list):
        argument[:] = after
    elif isinstance(argument, dict | set):
        argument.clear()
        argument.update(after)


def _exception(text: str) -> Exception:
    """Make the exception that the solution raised: of a builtin class, if it names one."""
    name, _, message = text.partition(": ")
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = type(name, (Exception,), {}) if name.isidentifier() else Exception
    try:
        made: Exception = kind(message)
    except TypeError:  # UnicodeDecodeError and its like want more
        made = Exception(message)
    return made


def _failure(error: BaseException | None) -> tuple[type[BaseException], ...]:
    """Return the classes by which test code fails: pytest's `Failed`, for one, is no Exception."""
    ours = (_Waiting, _Unusable, _Enough, _Lost, SystemExit, KeyboardInterrupt)
    return (Exception,) if error is None or isinstance(error, ours) else (Exception, type(error))


def _reason(error: BaseException | None) -> str:
    if isinstance(error, _Lost):
        return str(error)
    return "error" if error is _Raised.latest and error is not None else "wrong"


def _no_text_as_code(*_arguments: Any) -> NoReturn:
    raise _Unusable("the tests run text as code")


def main() -> None:
    """Play the order on the standard input, and write the report on the standard output."""
    order = json.loads(sys.stdin.read())
    out = sys.stdout
    sys.stdout = _Nowhere()
    sys.set_int_max_str_digits(0)
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    play = Play(order)
    play.prepare()
    out.write(json.dumps(play.report()))
    out.flush()
