"""Python read as a tree: by many threads at once, without a warning, and never executed."""

import ast
import gc
import sys
import threading
import warnings
from pathlib import Path

import pytest

from qwq_env.text.python import parse_python, read_literal

LONG = Path(ast.__file__).read_text().partition("\nclass NodeVisitor")[0]


class _Ring:
    """What the collector finds in the midst of a parse, so that another thread takes its turn."""

    def __init__(self):
        self.me = self

    def __del__(self):
        sum(range(50))


def at_once(parse, threads=6, times=8):
    """The errors of threads that parse at once, each at another depth of the stack."""
    errors = []

    def work(depth):
        if depth:
            return work(depth - 1)
        for _ in range(times):
            _Ring()
            try:
                parse(LONG)
            except SystemError as error:
                errors.append(error)

    workers = [threading.Thread(target=work, args=(7 * number,)) for number in range(threads)]
    kept, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(5)
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        gc.set_threshold(*kept)
        sys.setswitchinterval(interval)
    return errors


def test_threads_that_parse_at_once_get_their_trees():
    assert at_once(parse_python) == []


def test_a_failure_of_another_librarys_thread_is_tried_again(monkeypatch):
    failures = [SystemError("AST constructor recursion depth mismatch (before=30, after=24)")] * 2
    parse = ast.parse

    def doubtful(*args, **kwargs):
        if failures:
            raise failures.pop()
        return parse(*args, **kwargs)

    monkeypatch.setattr(ast, "parse", doubtful)
    assert ast.unparse(parse_python("1+1", "eval")) == "1 + 1"
    failures.extend([SystemError("always")] * 3)
    with pytest.raises(SystemError, match="always"):
        parse_python("1")


@pytest.mark.parametrize(
    "text, value",
    [("  [1, 'a', None]", [1, "a", None]), ("-1", -1), (r"'\d'", r"\d"), ("1+2j", 1 + 2j)],
)
def test_literals(text, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_literal(text) == value


@pytest.mark.parametrize("text", ["f()", "a", "1 +", "\0", "(" * 10_000, "-" * 100_000 + "1"])
def test_what_is_no_literal(text):
    with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)):
        read_literal(text)
