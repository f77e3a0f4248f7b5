"""What the options of `qwq eval` ask for."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.evaluation.answers import most_samples, read_answers
from qwq_env.evaluation.benchmarks import BENCHMARKS, find_benchmark
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.http.endpoints import find_endpoint

_PROMPT_TOKENS: Final = 8_192


def request_of(
    arguments: argparse.Namespace, name: str, tools: Sequence[str] | None
) -> EvaluationRequest:
    """Return what is asked for of one benchmark or environment.

    Raises `UsageError` for what does not go together.
    """
    policy = _policy(arguments)
    tasks: str | None = arguments.tasks
    size: int | None = arguments.limit
    if tasks is not None and re.fullmatch(r"[-+]?[0-9]+", tasks):
        if size is not None:
            raise UsageError(f"limit: {size}; {tasks} tasks are asked for already")
        if not re.fullmatch(r"\+?0*[1-9][0-9]{0,17}", tasks):
            raise UsageError(f"tasks: {brief(tasks)}; expected 1 or more, of at most 18 digits")
        size, tasks = int(tasks), None
    names = (
        "model", "checkpoint", "split", "seed", "dialect", "difficulty", "turns", "tool_calls",
        "seconds", "thinking", "seeded", "answers", "thinking_tokens", "forced_answer",
    )  # fmt: skip
    benchmark, preset = _benchmark(arguments, name)
    return EvaluationRequest(
        name if benchmark is None else find_benchmark(benchmark).environment,
        policy,
        native_tools=not arguments.text_tools,
        tasks=tasks,
        size=size,
        tools=None if tools is None else tuple(tools),
        benchmark=benchmark,
        preset=preset,
        data=_data(arguments, name),
        extra=_extra(arguments),
        arguments=_of_environment(arguments.argument),
        **_sampling(arguments, benchmark, preset),
        **{name: getattr(arguments, name) for name in names},
    )


def _policy(arguments: argparse.Namespace) -> Literal["vllm", "chat", "transformers", "answers"]:
    given: Mapping[str, tuple[Literal["vllm", "chat", "answers"], Any]] = {
        "vllm": ("vllm", arguments.vllm),
        "an endpoint": ("chat", arguments.endpoint),
        "answers": ("answers", arguments.answers),
    }
    named = [name for name, (_, value) in given.items() if value]
    if len(named) > 1:
        raise UsageError(f"{named[0]}: and {named[1]} as well; expected one of them")
    if named:
        return given[named[0]][0]
    if arguments.checkpoint is None:
        raise UsageError("policy: none; expected --vllm, --endpoint, --checkpoint or --answers")
    return "transformers"


def _data(arguments: argparse.Namespace, name: str) -> str | None:
    """Return where the data of a benchmark are: of several, in the folder by their names."""
    if arguments.data is None or len(arguments.names) == 1:
        given: str | None = arguments.data
        return given
    places = [Path(arguments.data) / name, Path(arguments.data) / f"{name}.jsonl"]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise UsageError(f"data: {arguments.data!r} holds no {name} nor {name}.jsonl")
    return str(found)


def _extra(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return what each request to an endpoint carries besides, what bounds its thinking too."""
    given: dict[str, Any] | None = None
    if arguments.extra is not None:
        try:
            given = json.loads(arguments.extra)
        except ValueError:
            pass
        if not isinstance(given, dict):
            raise UsageError(f"extra: {brief(arguments.extra)}; expected a JSON object")
    if arguments.endpoint and arguments.thinking_tokens is not None and given is None:
        return find_endpoint(arguments.endpoint).bounded(arguments.thinking_tokens)
    return given


def _of_environment(given: Sequence[str]) -> dict[str, Any] | None:
    """Return arguments of the environment from `NAME=VALUE`; a value is JSON, or else a text."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"argument: {brief(each)}; expected NAME=VALUE")
        if name in found:
            raise UsageError(f"argument: {name} twice; expected it once")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found or None


def _benchmark(arguments: argparse.Namespace, name: str) -> tuple[str | None, str | None]:
    """Return benchmark and preset, None for an environment."""
    if name in BENCHMARKS:
        preset = arguments.preset or "qwq"
        find_benchmark(name).protocol(preset)
        return name, preset
    for option in ("preset", "data"):
        if (value := getattr(arguments, option)) is not None:
            raise UsageError(f"{option}: {value!r}; {name} is no benchmark, and has none")
    if "/" not in name and ":" not in name:
        raise unknown("benchmark", name, BENCHMARKS)
    return None, None


def _sampling(
    arguments: argparse.Namespace, benchmark: str | None, preset: str | None
) -> dict[str, Any]:
    """Return how is sampled: as the options say, else the benchmark's protocol, else plainly."""
    values: dict[str, Any] = {
        "samples": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "completion": 32_768,
        "turn_tokens": 32_768, "context": 32_768,
    }  # fmt: skip
    if benchmark is not None and preset is not None:
        protocol = find_benchmark(benchmark).protocol(preset)
        tokens = protocol.tokens
        values |= {"samples": protocol.samples, **asdict(protocol.sampling)}
        # The prompt does not count against what a protocol lets a model write.
        values |= {"completion": tokens, "turn_tokens": tokens, "context": tokens + _PROMPT_TOKENS}
    given = {name: getattr(arguments, name) for name in values}
    if arguments.answers is not None and given["samples"] is None:
        given["samples"] = most_samples(read_answers(Path(arguments.answers)))
    return values | {name: value for name, value in given.items() if value is not None}
