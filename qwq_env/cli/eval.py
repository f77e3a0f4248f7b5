"""`qwq eval BENCHMARK|ENV_ID`: how well a policy does, with its error, and every episode kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from qwq_env.errors import ServersGone, UsageError, brief, unknown
from qwq_env.evaluation.answers import most_samples, read_answers
from qwq_env.evaluation.benchmarks import BENCHMARKS, find_benchmark
from qwq_env.evaluation.folder import EvaluationFolder
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.imports import missing_extra

if TYPE_CHECKING:
    from qwq_env.evaluation.statistics import Mean
    from qwq_env.evaluation.summary import Summary
    from qwq_env.trajectory import Trajectory

_PROMPT_TOKENS: Final = 8_192
_MOST_NAMED: Final = 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq eval`."""
    parser = subparsers.add_parser(
        "eval",
        help="measure a policy on a benchmark, or in an environment",
        description="Plays every task and keeps every episode. The policy is a checkpoint, or is"
        " asked on vLLM servers (with token ids; --checkpoint is the folder of its tokenizer) or at"
        " a chat endpoint, or its answers are stored in a file. A benchmark is played as its preset"
        " says, as far as no option says otherwise. Exit code 1: the servers died, and --resume"
        " goes on.",
    )
    parser.add_argument(
        "env_id",
        metavar="BENCHMARK|ENV_ID",
        help=f"a benchmark ({', '.join(BENCHMARKS)}), or an environment, such as qwq/MathTool-v0",
    )
    parser.add_argument(
        "--preset", help="a benchmark's protocol: qwq, as QwQ-32B was measured (default), official"
    )
    parser.add_argument(
        "--data", metavar="PATH", help="a benchmark's file or folder, as published; else the hub"
    )
    _add_policy(parser)
    _add_episodes(parser)
    parser.add_argument("--out", type=Path, required=True, help="the folder for what comes of it")
    parser.add_argument("--resume", action="store_true", help="go on with one that was stopped")
    parser.add_argument(
        "--journal",
        action="store_true",
        help="keep what each turn and call gave, so that --resume goes on in mid-episode",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, not a table")
    parser.set_defaults(run=run)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    policy = parser.add_argument_group("the policy")
    policy.add_argument(
        "--vllm", nargs="+", default=[], metavar="URL", help="http://host:port; key: VLLM_API_KEY"
    )
    policy.add_argument("--endpoint", metavar="URL", help="a chat endpoint, http://host:port/v1")
    policy.add_argument("--model", help="the name to ask for (vLLM: by default the first it has)")
    policy.add_argument("--checkpoint", metavar="DIR", help="the folder of a checkpoint")
    policy.add_argument(
        "--answers", metavar="FILE", help='stored answers: rows {"task_id" or "prompt", "response"}'
    )
    policy.add_argument(
        "--key-variable", default="OPENAI_API_KEY", help="holds the endpoint's key (OPENAI_API_KEY)"
    )
    policy.add_argument(
        "--text-tools", action="store_true", help="tell the endpoint's model of the tools in words"
    )
    policy.add_argument(
        "--grace", type=float, default=5.0, help="seconds without any server until it ends (5)"
    )
    policy.add_argument("--seeded", action="store_true", help="send a seed with each request")
    policy.add_argument("--temperature", type=float, help="1; 0 is greedy")
    policy.add_argument("--top-p", type=float, help="1, which keeps everything")
    policy.add_argument("--top-k", type=int, help="0, which keeps everything")


def _add_episodes(parser: argparse.ArgumentParser) -> None:
    episodes = parser.add_argument_group("the episodes")
    episodes.add_argument(
        "--tasks", metavar="FILE|N", help="a task file or a set's name; or the first N tasks"
    )
    episodes.add_argument("--limit", type=int, metavar="N", help="the first N tasks only")
    episodes.add_argument("--samples", type=int, metavar="K", help="episodes a task (1)")
    episodes.add_argument("--split", default="heldout", help="where the tasks have any (heldout)")
    episodes.add_argument("--seed", type=int, default=0, help="of tools and, if sent, requests (0)")
    for name in ("--tools", "--dialect", "--difficulty", "--turns", "--tool-calls", "--seconds"):
        kinds = {"--tools": str, "--dialect": str, "--seconds": float}
        episodes.add_argument(
            name,
            type=kinds.get(name, int),
            nargs="*" if name == "--tools" else None,
            help="in place of the environment's own",
        )
    episodes.add_argument("--context", type=int, help="tokens, with the prompt (32768)")
    episodes.add_argument("--completion", type=int, help="tokens after the prompt (32768)")
    episodes.add_argument("--turn-tokens", type=int, help="tokens of a turn (32768)")
    episodes.add_argument("--thinking", choices=["keep", "strip"], default="keep")
    episodes.add_argument("--concurrency", type=int, default=64, help="episodes at a time (64)")


def run(arguments: argparse.Namespace) -> int:
    """Play and print; 0, or 1 if no server is left or nothing was scored, 130 if interrupted."""
    request = _request(arguments)
    folder = EvaluationFolder(arguments.out)
    settings = request.settings()
    folder.check(settings, resume=arguments.resume)
    # What is loaded from here on takes seconds.
    try:
        from qwq_env.evaluation.run import (  # noqa: PLC0415
            Place,
            description,
            make_player,
            run_evaluation,
        )
        from qwq_env.training.progress import Reporter  # noqa: PLC0415 - optional, as the others
    except ModuleNotFoundError as error:
        raise missing_extra(error, "train") from None
    data = request.load_data()
    env = request.make_environment(data)
    urls = [arguments.endpoint] if arguments.endpoint else arguments.vllm
    place = Place(urls, arguments.key_variable, arguments.concurrency, arguments.grace)
    player = make_player(request, place, env)
    folder.begin(settings)
    size = request.size if request.size is not None else env.tasks.size
    total, stored = (size or 0) * request.samples, 0
    with Reporter().phase("evaluate", total, "episodes") as phase:

        def count(trajectory: Trajectory | None) -> None:
            nonlocal stored
            stored += trajectory is None or not trajectory.outcome.failed
            phase.advance()

        try:
            summary = run_evaluation(
                request, env, player, place, folder, count, journal=arguments.journal, data=data
            )
        except (ServersGone, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            what = "interrupted" if interrupted else f"failed: {error}"
            failure = f"qwq: {what}; {stored} of {total} episodes are stored in {folder.path}"
            code = 130 if interrupted else 1
        else:
            failure, code = "", 0 if summary.accuracy is not None else 1
    if failure:
        print(f"{failure}; the same command with --resume goes on", file=sys.stderr)
        return code
    told = None if data is None else description(request, env, data)
    print(_json(summary, told) if arguments.json else _table(summary, folder, told))
    return code


def _json(summary: Summary, told: Mapping[str, Any] | None) -> str:
    return json.dumps({**({} if told is None else {"benchmark": told}), **asdict(summary)})


def _request(arguments: argparse.Namespace) -> EvaluationRequest:
    """Return what is asked for. Raises `UsageError` for what does not go together."""
    policy = _policy(arguments)
    tasks: str | None = arguments.tasks
    size: int | None = arguments.limit
    if tasks is not None and tasks.isascii() and tasks.isdecimal():
        if size is not None:
            raise UsageError(f"limit: {size}; {tasks} tasks are asked for already")
        try:
            size, tasks = int(tasks), None
        except ValueError:
            raise UsageError(f"tasks: {brief(tasks)}; expected fewer digits") from None
    names = (
        "model", "checkpoint", "split", "seed", "dialect", "difficulty", "turns", "tool_calls",
        "seconds", "thinking", "seeded", "answers", "data",
    )  # fmt: skip
    benchmark, preset = _benchmark(arguments)
    return EvaluationRequest(
        arguments.env_id if benchmark is None else find_benchmark(benchmark).environment,
        policy,
        native_tools=not arguments.text_tools,
        tasks=tasks,
        size=size,
        tools=None if arguments.tools is None else tuple(arguments.tools),
        benchmark=benchmark,
        preset=preset,
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


def _benchmark(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return benchmark and preset, None for an environment."""
    name: str = arguments.env_id
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


def _table(
    summary: Summary, folder: EvaluationFolder, told: Mapping[str, Any] | None = None
) -> str:
    lines = [
        *(() if told is None else _protocol_lines(told)),
        f"accuracy    {_mean(summary.accuracy)}",
        *_sample_lines(summary),
        *(f"  in {name:<8} {_mean(mean)}" for name, mean in summary.groups.items()),
        *(f"  in {name:<8} {_mean(mean)}" for name, mean in summary.members.items()),
        f"reward      {_mean(summary.reward)}",
        f"episodes    {summary.episodes} of {summary.tasks} tasks",
        f"truncated   {_counts(summary.truncated)}",
        f"lost        {_counts(summary.lost)}",
        *(f"  {name}" for name in summary.lost_episodes[:_MOST_NAMED]),
    ]
    if summary.undecided:
        lines.append(f"undecided   {len(summary.undecided)}: in no mean, by no judge's word wrong")
        lines += [f"  {name}" for name in summary.undecided[:_MOST_NAMED]]
    if summary.tool_call_rate is not None:
        lines.append(f"call a tool {summary.tool_call_rate:.3f}")
    if summary.sampled_tokens is not None:
        lines.append(f"tokens      {summary.sampled_tokens:,} sampled")
    if summary.lost:
        lines.append("the same command with --resume plays the lost ones again")
    return "\n".join([*lines, f"written to  {folder.path}/"])


def _protocol_lines(told: Mapping[str, Any]) -> list[str]:
    other = ", ".join(f"{name} {value}" for name, value in told["other_than_preset"].items())
    of = "" if told["published_tasks"] in (None, told["tasks"]) else (
        f" of {told['published_tasks']} published"
    )  # fmt: skip
    left_out = f"; {told['left_out']} left out" if told["left_out"] else ""
    lines = [
        f"{told['name']:<11} {told['title']}",
        f"preset      {told['preset']}" + (f", but for {other}" if other else ""),
        f"data        {told['data']}, {told['tasks']} tasks{of}{left_out}",
        f"sha256      {told['sha256']}",
    ]
    return [*lines, *(f"{name:<11} {told[name]}" for name in ("judge", "metric", "source"))]


def _sample_lines(summary: Summary) -> list[str]:
    lines = []
    if summary.interval is not None:
        low, high = summary.interval
        lines.append(f"  95 %      {low:.4f} to {high:.4f}")
    if summary.passes:
        most = max(summary.passes)
        lines += [
            f"  avg@{most:<6}{_mean(summary.average)}",
            f"  pass@{most:<5}{_mean(summary.passes[most])}",
        ]
        if summary.consensus is not None:
            lines.append(f"  cons@{most:<5}{_mean(summary.consensus)}")
    return [*lines, *(f"  {name:<9} {_mean(mean)}" for name, mean in summary.measures.items())]


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return "none: every episode was lost"
    error = "" if mean.error is None else f" ± {mean.error:.4f} (standard error, by task)"
    return f"{mean.value:.4f}{error}"


def _counts(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    return f"{sum(counts.values())}" + (f" ({named})" if named else "")
