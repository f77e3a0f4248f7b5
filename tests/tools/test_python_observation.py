"""What the model reads is made in no time, whatever the program printed."""

import time

import pytest

from qwq_env.sandbox import ExecutionResult, Limits
from qwq_env.tools.python.observation import describe


@pytest.mark.parametrize("status", ["timeout", "error", "output"])
@pytest.mark.parametrize(
    "piece", ['File "<', 'File "<step 1', 'File "<step 1>"', "\n", "x", "\r\n"]
)
def test_a_stream_of_any_shape_is_described_at_once(piece, status):
    text = piece * (65_536 // len(piece))
    began = time.thread_time()

    describe(ExecutionResult(status, stdout=text, stderr=text), Limits())
    assert time.thread_time() - began < 0.1


def test_the_line_where_it_was_stopped_is_told():
    stderr = 'Traceback:\n  File "<program step 3>", line 7, in <module>\nKeyboardInterrupt'

    assert (
        "[stopped at line 7:"
        in describe(ExecutionResult("timeout", stderr=stderr), Limits()).content
    )
