"""A program's text is compiled by a short way where it may be; it must mean what Python says."""

import ast
import contextlib
import io
import re
import warnings

from hypothesis import example, given
from hypothesis import strategies as st

from qwq_env.sandbox.jail import program

ADDRESS = re.compile("0x[0-9a-f]+")

LINES = [
    'x = 1', 'x = x + 1', 'x', 'x + 1', 'y', 'not x', '[x,', '2]', '(', 'x)', ')', 'x = (', '{',
    'if x:', '    x = 5', '    x', 'else:', 'try:', 'except NameError:', 'finally:',
    'for x in [3]:', 'def f(a=x):', '    return a', 'f()', '@f', 'class A:', '    z = x', 'A.z',
    'lambda: 0', 'with', '"""', "'''", '"x"', "'", "x = '''", '# x', '', '    ', '\t', ';',
    'x; x', 'x;', '1 if x else 2', 'return x', 'yield x', 'await x', 'x := 5', '(x := 5)',
    '*x, 1', 'x: int = 4', 'del x', '\\', 'print(x)', 'x if', 'in', 'x.real', 'x \\', 'None',
    'pass', 'é = 3', 'é', 'x\r', '\x0cx', '1, 2',
]  # fmt: skip


def by_the_book(code: str) -> tuple[str | None, str | None]:
    """What the last expression is shown as, and the name of the error, by the syntax tree."""
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        tree = ast.parse(code.encode())
        last = ast.Expression(ast.Constant(None))
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        shown = compile(ast.fix_missing_locations(last), "<>", "eval")
        exec(compile(tree, "<>", "exec"), names)
        value = eval(shown, names)
        return None if value is None else ADDRESS.sub("", repr(value)), None
    except BaseException as error:
        return None, type(error).__name__


@given(st.lists(st.sampled_from(LINES), max_size=6).map("\n".join))
@example("x = 1\nx")
@example("x = '''\nx")
@example("x = (\nx\n)")
@example("x = 1 + \\\nx")
def test_the_short_way_means_what_the_long_one_does(code: str) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        value, error = by_the_book(code)
        ended = program.execute(code.encode(), names, "<program>", 1000)

    assert ended.error == error
    assert (None if ended.value is None else ADDRESS.sub("", ended.value)) == value
