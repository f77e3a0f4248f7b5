"""What the sandbox's benchmark runs: no program is another's, and nobody has its result already."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from qwq_env.sandbox import LocalSandbox, warm

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _sandbox_programs import KINDS, PROGRAMS

MISSES = """
import contextlib, io
from sympy.core.cache import CACHE
def missed(code):
    before = sum(function.cache_info().misses for function in CACHE)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, {})
    return sum(function.cache_info().misses for function in CACHE) - before
"""


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_is_like_no_other_and_the_same_for_every_side(kind: str) -> None:
    drawn = list(itertools.islice(PROGRAMS[kind](7), 700))

    assert len(set(drawn)) == 700
    assert drawn == list(itertools.islice(PROGRAMS[kind](7), 700))
    assert drawn != list(itertools.islice(PROGRAMS[kind](8), 700))


async def test_the_warm_image_has_no_result_of_any_kind(started_image: Any) -> None:
    drawn = list(itertools.islice(PROGRAMS["symbolic"](7), len(KINDS)))
    (known,) = [line for line in warm.programs(["sympy"])[0].splitlines() if "s.diff" in line]
    known = f"import sympy as s\nx = s.Symbol('x')\n{known.split(', s.integrate')[0]}"

    for code in drawn:
        first, again = await missed(started_image, code)
        assert first > 20, code
        assert again < first, code
    # It would be seen: this is what the warm-up has computed.
    assert (await missed(started_image, known))[0] <= 20


async def missed(sandbox: LocalSandbox, code: str) -> list[int]:
    """How often SymPy had to compute what it keeps: the first time, and the second."""
    result = await sandbox.run(f"{MISSES}\n[missed({code!r}), missed({code!r})]")
    assert result.ok, result.stderr
    return [int(number) for number in result.value.strip("[]").split(",")]


@pytest.fixture
async def started_image() -> Any:
    """A sandbox whose image is the benchmark's."""
    async with LocalSandbox(slots=1, preload=("numpy", "sympy"), allow_unsafe=True) as sandbox:
        yield sandbox
