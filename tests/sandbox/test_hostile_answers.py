"""Answers that a program wrote itself, by the host's own frame: each costs bounded time and memory.

The event loop is watched by a task that wakes all the time: what the loop's thread computes between
two of its turns is a stall. It is counted in processor time, since this machine may be busy.
"""

import asyncio
import contextlib
import gc
import struct
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.code.problem import CallTest, CodeProblem, equals
from qwq_env.sandbox import Limits
from qwq_env.sandbox.errors import SandboxUnavailable

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS = Limits(cpu_seconds=20, wall_seconds=60, memory_mb=512)
MOST_STALL = 0.05
MOST_GROWTH = 64 << 20

# Answers any question with what `{answer}` makes: the frame that calls holds the nonce.
FORGERY = """
P = 2**61 - 1
def join(items): return b",".join(items)
def add(*a):
    import sys
    frame = sys._getframe(1)
    while "nonce" not in frame.f_locals:
        frame = frame.f_back
    names = frame.f_locals
    names["write"](6, b'["%s",' % names["nonce"].encode() + ({answer}) + b"]")
"""
HONEST = "def add(*a):\n    return {answer}"

SHAPES = {
    "set of one hash": """b'"ok",{"s":[' + join(b"%d" % (i * P) for i in range(100_000)) + b']},null'""",
    "keys of one hash": """b'"ok",{"d":[' + join(b"[%d,0]" % (i * P) for i in range(100_000)) + b']},null'""",
    "frozensets of one hash": """b'"ok",{"s":[' + join(b'{"f":[{"t":[%d]}]}' % (i * P) for i in range(60_000)) + b']},null'""",
    "tuples of one hash": """b'"ok",{"f":[' + join(b'{"t":[%d,%d]}' % (i * P, i) for i in range(60_000)) + b']},null'""",
    "equal members": """b'"ok",{"s":[' + b"7," * 1_500_000 + b'7]},null'""",
    "large set": """b'"ok",{"s":[' + join(b"%d" % i for i in range(160_000)) + b']},null'""",
    "many sets": """b'"ok",[' + b'{"s":[5]},' * 400_000 + b'0],null'""",
    "empty lists": """b'"ok",[' + b"[]," * 1_500_000 + b"0],null" """,
    "empty dictionaries": """b'"ok",[' + b'{"d":[]},' * 400_000 + b"0],null" """,
    "untagged objects": """b'"ok",[' + b"{}," * 1_500_000 + b"0],null" """,
    "towers": """b'"ok",[' + (b"[" * 30 + b"]" * 30 + b",") * 20_000 + b"0],null" """,
    "deep": """b'"ok",' + b"[" * 8_000_000 + b"]" * 8_000_000 + b",null" """,
    "deep tags": """b'"ok",' + b'{"t":[' * 2_000_000""",
    "one integer": """b'"ok",' + b"9" * (15 << 20) + b",null" """,
    "long integers": """b'"ok",[' + (b"9" * 4300 + b",") * 1_000 + b"0],null" """,
    "hexadecimal": """b'"ok",{"i":"' + b"f" * (15 << 20) + b'"},null'""",
    "long floats": """b'"ok",[' + (b"0." + b"1" * 30_000 + b"e-9999,") * 500 + b"0],null" """,
    "floats": """b'"ok",[' + b"1.5," * 2_000_000 + b"0],null" """,
    "one string": """b'"ok","' + b"a" * (15 << 20) + b'",null'""",
    "escapes": r"""b'"ok","' + b"\\u0000" * 2_600_000 + b'",null'""",
    "wide string": r"""b'"ok","\\ud83d\\ude00' + b"a" * (15 << 20) + b'",null'""",
    "strings": """b'"ok",[' + b'"ab",' * 3_000_000 + b'0],null'""",
    "wide strings": r"""b'"ok",[' + b'"\\ud83d\\ude00",' * 1_000_000 + b'0],null'""",
    "bytes": """b'"ok",{"b":"' + b"00" * 7_500_000 + b'"},null'""",
    "one key again": """b'"ok",{' + b'"s":[],' * 150_000 + b'"s":[]},null'""",
    "many keys": """b'"ok",{' + join(b'"%d":0' % i for i in range(150_000)) + b'},null'""",
    "spoilt at the end": """b'"ok",[' + b"1," * 7_000_000 + b"},null" """,
    "white space": """b" " * (15 << 20)""",
    "large error": """b'"error",null,[' + b'[],' * 1_500_000 + b'0]'""",
    "error of many digits": """b'"error",null,{"i":"' + b"f" * 100_000 + b'"}'""",
    "status of another kind": """b'["ok"],null,null'""",
    "too few": """b'"ok"'""",
    "not UTF-8": r"""b'"ok","' + b"\xff" * (15 << 20) + b'",null'""",
    "too large for a frame": """b'"ok","' + b"a" * (17 << 20) + b'",null'""",
}


@asynccontextmanager
async def watched():
    """Watch the event loop's longest stall and this process's memory while the body runs."""
    worst = {"stall": 0.0, "growth": 0}
    gc.collect()
    gc.freeze()  # the tests' own objects are not searched for garbage on an answer's account
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
    began = _peak()

    async def beat():
        while True:
            turn = time.thread_time()
            await asyncio.sleep(0)
            worst["stall"] = max(worst["stall"], time.thread_time() - turn)
            await asyncio.sleep(0.0005)

    beats = asyncio.create_task(beat())
    try:
        yield worst
    finally:
        await asyncio.sleep(0.002)
        beats.cancel()
        gc.unfreeze()
        worst["growth"] = _peak() - began


def _peak():
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_forged_answer_costs_the_host_little(bare, shape):
    code = FORGERY.format(answer=SHAPES[shape])
    began = time.thread_time()

    async with watched() as worst:
        (result,) = await bare.call(code, "add", [[2, 3]], limits=LIMITS)
    assert worst["stall"] < MOST_STALL
    assert worst["growth"] < MOST_GROWTH
