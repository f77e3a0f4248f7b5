"""Answers that a program wrote itself, out of its caller's frame: what each costs the host."""

import pytest

from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.code.problem import CallTest, CodeProblem, Equals
from qwq_env.sandbox import Limits

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS = Limits(cpu_seconds=20, wall_seconds=60, memory_mb=512)

# Answers any question with what `{answer}` makes: the frame that calls holds the nonce.
FORGERY = """
P = 2**61 - 1
def join(items): return b",".join(items)
def many(item, count): return b"[" + (item + b",") * count + b"0]"
def tagged(tag, items): return b'{{"%s":[' % tag + join(items) + b"]}}"
def ok(value): return b'"ok",' + value + b",null"
def add(*a):
    import sys
    frame = sys._getframe(1)
    while "nonce" not in frame.f_locals:
        frame = frame.f_back
    names = frame.f_locals
    names["write"](6, b'["%s",' % names["nonce"].encode() + {answer} + b"]")
"""

SHAPES = {
    "set of one hash": """ok(tagged(b"s", (b"%d" % (i * P) for i in range(100_000))))""",
    "keys of one hash": """ok(tagged(b"d", (b"[%d,0]" % (i * P) for i in range(100_000))))""",
    "frozensets": """ok(tagged(b"s", (tagged(b"f", [b"%d" % (i * P)]) for i in range(40_000))))""",
    "tuples": """ok(tagged(b"f", (tagged(b"t", [b"%d" % (i * P)]) for i in range(40_000))))""",
    "equal members": """ok(b'{"s":%s}' % many(b"7", 1_000_000))""",
    "large set": """ok(tagged(b"s", (b"%d" % i for i in range(160_000))))""",
    "many sets": """ok(many(b'{"s":[5]}', 150_000))""",
    "empty lists": """ok(many(b"[]", 5_000_000))""",
    "empty dictionaries": """ok(many(b'{"d":[]}', 200_000))""",
    "untagged objects": """ok(many(b"{}", 1_000_000))""",
    "towers": """ok(many(b"[" * 30 + b"]" * 30, 5_000))""",
    "deep": """ok(b"[" * 8_000_000 + b"]" * 8_000_000)""",
    "deep tags": """ok(b'{"t":[' * 2_000_000)""",
    "one integer": """ok(b"9" * (15 << 20))""",
    "long integers": """ok(many(b"9" * 4300, 500))""",
    "hexadecimal": """ok(b'{"i":"' + b"f" * (15 << 20) + b'"}')""",
    "long floats": """ok(many(b"0." + b"1" * 15_000 + b"e-9999", 500))""",
    "floats": """ok(many(b"1.5", 1_500_000))""",
    "one string": """ok(b'"' + b"a" * (15 << 20) + b'"')""",
    "escapes": r"""ok(b'"' + b"\\u0000" * 2_600_000 + b'"')""",
    "wide string": r"""ok(b'"\\ud83d\\ude00' + b"a" * (15 << 20) + b'"')""",
    "strings": """ok(many(b'"ab"', 1_000_000))""",
    "wide strings": r"""ok(many(b'"\\ud83d\\ude00"', 500_000))""",
    "bytes": """ok(b'{"b":"' + b"00" * 7_500_000 + b'"}')""",
    "one key again": """ok(b"{" + b'"s":[],' * 100_000 + b'"s":[]}')""",
    "many keys": """ok(b"{" + join(b'"%d":0' % i for i in range(100_000)) + b"}")""",
    "spoilt at the end": """ok(b"[" + b"1," * 1_000_000 + b"}")""",
    "white space": """b" " * (15 << 20)""",
    "large error": """b'"error",null,' + many(b"[]", 5_000_000)""",
    "status of another kind": """b'["ok"],null,null'""",
    "too few": """b'"ok"'""",
    "not UTF-8": r"""ok(b'"' + b"\xff" * (15 << 20) + b'"')""",
    "too large for a frame": """ok(b'"' + b"a" * (17 << 20) + b'"')""",
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_forged_answer_costs_the_host_little(bare, watch, shape):
    code = FORGERY.format(answer=SHAPES[shape])
    # One wide character makes each of the 15 million take four bytes.
    most = 80 if shape == "wide string" else 64

    async with watch(most_growth=most << 20):
        await bare.call(code, "add", [[2, 3]], limits=LIMITS)


async def test_many_large_answers_in_one_request_cost_no_more_than_one(bare, watch):
    """What is left is skipped; asked for again, it comes."""
    code = "def numbers(n):\n    return list(range(n))"
    wanted = [[300_000 + i] for i in range(8)]

    async with watch():
        results = await bare.call(code, "numbers", wanted, limits=LIMITS)
    skipped = [result.skipped for result in results]
    first = skipped.index(True)
    rest = await bare.call(code, "numbers", wanted[first:], limits=LIMITS)
    assert first > 1
    assert all(skipped[first:])
    assert [len(result.value) for result in results[:first]] == [n for (n,) in wanted[:first]]
    assert rest[0].value == list(range(wanted[first][0]))


@pytest.mark.parametrize(
    "made",
    [
        "list(range(10**6))",
        "[i / 7 for i in range(300_000)]",
        "[[i, -i] for i in range(100_000)]",
        "[(i, -i) for i in range(90_000)]",
        "{i: str(i) for i in range(100_000)}",
        "set(range(100_000))",
        "'[],\\n\\u00e9' * 10**6",
        "[str(i) for i in range(200_000)]",
        "[[1] * 1000] * 900",
    ],
    ids=["numbers", "floats", "pairs", "tuples", "keys", "set", "text", "texts", "grid"],
)
async def test_an_honest_answer_may_be_large(bare, watch, made):
    value = eval(made)
    async with watch():
        (result,) = await bare.call(f"def f():\n    return {made}", "f", [[]], limits=LIMITS)

    assert result.error is None
    assert result.value == value
    assert type(result.value) is type(value)


async def test_a_grader_pays_forged_answers_nothing_and_large_honest_ones(bare, watch):
    grader = CodeGrader(bare, reward="fraction")
    lengths = range(14 << 20, (14 << 20) + 3)
    problem = CodeProblem(tuple(CallTest("add", (n,), Equals("x" * n)) for n in lengths))
    colliding = FORGERY.format(answer=SHAPES["set of one hash"])

    async with watch():
        forged = await grader.grade(problem, f"```python\n{colliding}\n```")
    honest = await grader.grade(problem, "```python\ndef add(n):\n    return 'x' * n\n```")
    assert (forged.value, forged.reason) == (0.0, "wrong_answer")
    assert honest.value == 1.0


async def test_an_error_is_a_text_or_none(bare):
    code = FORGERY.format(answer="""b'"error",null,{"i":"' + b"f" * 100_000 + b'"}'""")

    (result,) = await bare.call(code, "add", [[1]])
    assert (result.status, result.error) == ("unsupported", "not the text of an error")


STEP = """
import struct, sys
frame = sys._getframe(1)
while "nonce" not in frame.f_locals:
    frame = frame.f_back
names = frame.f_locals
names["write"](6, struct.pack("=16siq", names["nonce"], {exit_code}, {peak}) + {account})
"""
VALUE = 'struct.pack("=ii", {length}, -1) + b"V" * {length}'


@pytest.mark.parametrize(
    ("exit_code", "peak", "account"),
    [
        (0, 7, VALUE.format(length=8 << 20)),
        (0, 7, VALUE.format(length=8193)),
        (0, 7, 'struct.pack("=ii", -1, 20_000_000) + b"E" * 20_000_000'),
        (0, 7, 'struct.pack("=ii", 1, -1) + b"\\xff"'),
        (0, 7, 'b""'),
        (-1, 7, VALUE.format(length=1)),
        (256, 7, VALUE.format(length=1)),
        (0, -1, VALUE.format(length=1)),
        (0, 2**62, VALUE.format(length=1)),
    ],
)
async def test_a_step_that_answers_for_the_interpreter_ends_it(
    bare, watch, exit_code, peak, account
):
    """Which is the program's own doing, and neither the sandbox's failure nor the host's cost."""
    code = STEP.format(exit_code=exit_code, peak=peak, account=account)

    async with await bare.open_session(limits=LIMITS) as session:
        async with watch():
            result = await session.run(code)
        after = await session.run("6 * 7")
    assert (result.status, result.state_lost, result.value) == ("killed", True, None)
    assert after.value == "42"


@pytest.mark.parametrize("output_bytes", [0, 100, 65_536])
async def test_a_value_is_as_long_as_asked_for(bare, output_bytes):
    limits = Limits(output_bytes=output_bytes)
    code = STEP.format(exit_code=0, peak=7, account=VALUE.format(length=output_bytes + 1))

    async with await bare.open_session(limits=limits) as session:
        forged = await session.run(code)
        honest = await session.run("'x' * 10_000")
    assert forged.state_lost
    assert len(honest.value) == min(output_bytes, 8192)


@pytest.mark.parametrize("piece", [b"\xff", b"\xe2\x28", "\u00e9\U0001f600".encode(), b"\0\n"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_what_is_printed_costs_the_host_little(bare, watch, piece, stream):
    code = f"import sys\nwhile True: sys.{stream}.buffer.write({piece!r} * 10**6)"
    limits = Limits(output_bytes=4 << 20)

    async with watch():
        result = await bare.run(code, limits=limits)
    printed = getattr(result, stream)
    assert (result.status, result.truncated) == ("output", (stream,))
    assert printed == (piece * (4 << 20))[: 4 << 20].decode("utf-8", "replace")


@pytest.mark.parametrize(
    "argument",
    [
        list(range(10**6)),
        [[i, -i] for i in range(100_000)],
        "x" * (8 << 20),
        {i: i for i in range(10**5)},
    ],
    ids=["numbers", "pairs", "text", "keys"],
)
async def test_arguments_may_be_large(bare, watch, argument):
    code = "import time\ntime.sleep(0.1)\ndef f(x): return len(x)"

    async with watch():
        (result,) = await bare.call(code, "f", [[argument]], limits=LIMITS)
    assert result.value == len(argument)
