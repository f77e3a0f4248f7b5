"""What others would grade the rows of `_math_rows` with, in processes that import this module.

math-verify is set as is quickest and surest for it: the timeouts, which set an alarm for each
call, off; what stands before `</think>` cut away; one kind of extraction for the reference, which
is LaTeX; intervals may be written as inequalities. `defaults` is `verify(parse(gold),
parse(response))`. TRL's `accuracy_reward` sets its alarms itself and is given all rows in one call.
`fork` is a process for each call: the usual way to make math-verify killable, as ours is.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import NamedTuple

from _math_rows import Row


class Graded(NamedTuple):
    """How many verdicts were wrong, and the seconds of each call (one for all, if it was one)."""

    wrong: int
    seconds: list[float]


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes that share nothing with this one: no cache, no thread."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def grade(peer: str, rows: Sequence[Row]) -> Graded:
    """Grade rows, one after the other; for a process of a pool."""
    logging.disable(logging.WARNING)
    if peer == "trl_accuracy_reward":
        return _accuracy_reward(rows)
    if peer == "fork":
        _warm_up()
    decide = {"math_verify": _best, "math_verify_defaults": _defaults, "fork": _forked}[peer]
    wrong, seconds = 0, []
    for row in rows:
        began = time.perf_counter()
        wrong += decide(f"${row.gold}$", row.response) != row.right
        seconds.append(time.perf_counter() - began)
    return Graded(wrong, seconds)


@cache
def _best_parsers() -> tuple[Callable[[str], list], Callable[[str], list]]:
    from math_verify import LatexExtractionConfig, parse

    of_gold = [LatexExtractionConfig()]
    of_answer = [LatexExtractionConfig(boxed_match_priority=0)]
    return (
        lambda text: parse(text, of_gold, parsing_timeout=None),
        lambda text: parse(text, of_answer, extraction_mode="first_match", parsing_timeout=None),
    )


def _best(gold: str, response: str) -> bool:
    from math_verify import verify

    parse_gold, parse_answer = _best_parsers()
    answer = parse_answer(response.rpartition("</think>")[2])
    return bool(
        verify(parse_gold(gold), answer, timeout_seconds=None, allow_set_relation_comp=True)
    )


def _defaults(gold: str, response: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(gold), parse(response)))


@cache
def _warm_up() -> None:
    """Import SymPy and use its parser before the first fork, so that no child has to."""
    _best("$x$", "\\boxed{x+1}")


def _forked(gold: str, response: str) -> bool:
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if _best(gold, response) else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _accuracy_reward(rows: Sequence[Row]) -> Graded:
    from trl.rewards import accuracy_reward

    completions = [[{"role": "assistant", "content": row.response}] for row in rows]
    began = time.perf_counter()
    rewards = accuracy_reward(completions, [f"${row.gold}$" for row in rows])
    seconds = time.perf_counter() - began
    wrong = sum((reward == 1.0) != row.right for reward, row in zip(rewards, rows, strict=True))
    return Graded(wrong, [seconds])
