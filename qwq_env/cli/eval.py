"""`qwq eval ENV_ID`: how well a policy does, with the error of it, and every episode kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qwq_env.errors import ServersGone, UsageError, brief
from qwq_env.evaluation.folder import EvaluationFolder
from qwq_env.evaluation.request import EvaluationRequest

if TYPE_CHECKING:
    from qwq_env.evaluation.summary import Mean, Summary
    from qwq_env.trajectory import Trajectory


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq eval`."""
    parser = subparsers.add_parser(
        "eval",
        help="measure a policy in an environment",
        description="Plays every task and keeps every episode. The policy is a checkpoint, or is"
        " asked on vLLM servers (with token ids; --checkpoint is the folder of its tokenizer) or at"
        " a chat endpoint. Exit code 1: the servers died, and --resume goes on.",
    )
    parser.add_argument("env_id", help="the environment, for example qwq/MathTool-v0")
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
        "--key-variable", default="OPENAI_API_KEY", help="holds the endpoint's key (OPENAI_API_KEY)"
    )
    policy.add_argument(
        "--text-tools", action="store_true", help="tell the endpoint's model of the tools in words"
    )
    policy.add_argument(
        "--grace", type=float, default=5.0, help="seconds without any server until it ends (5)"
    )
    policy.add_argument("--seeded", action="store_true", help="send a seed with each request")
    policy.add_argument("--temperature", type=float, default=1.0, help="1; 0 is greedy")
    policy.add_argument("--top-p", type=float, default=1.0, help="1, which keeps everything")
    policy.add_argument("--top-k", type=int, default=0, help="0, which keeps everything")


def _add_episodes(parser: argparse.ArgumentParser) -> None:
    episodes = parser.add_argument_group("the episodes")
    episodes.add_argument(
        "--tasks", metavar="FILE|N", help="a task file or a set's name; or the first N tasks"
    )
    episodes.add_argument("--limit", type=int, metavar="N", help="the first N tasks only")
    episodes.add_argument("--samples", type=int, default=1, metavar="K", help="episodes a task (1)")
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
    episodes.add_argument("--context", type=int, default=32_768, help="tokens, with the prompt")
    episodes.add_argument("--completion", type=int, default=32_768, help="tokens after the prompt")
    episodes.add_argument("--turn-tokens", type=int, default=32_768, help="tokens of a turn")
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
        from qwq_env.evaluation.run import Place, make_player, run_evaluation  # noqa: PLC0415
        from qwq_env.training.progress import Reporter  # noqa: PLC0415 - optional, as the others
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed; pip install 'qwq-env[train]'") from None
    env = request.make_environment()
    urls = [arguments.endpoint] if arguments.endpoint else arguments.vllm
    place = Place(urls, arguments.key_variable, arguments.concurrency, arguments.grace)
    player = make_player(request, place)
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
                request, env, player, place, folder, count, journal=arguments.journal
            )
        except (ServersGone, KeyboardInterrupt) as error:
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error}"
            failure = (
                f"qwq: {what}; {stored} of {total} episodes are stored in {folder.path};"
                " the same command with --resume goes on"
            )
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
        else:
            failure, code = "", 0 if summary.accuracy is not None else 1
    if failure:
        print(failure, file=sys.stderr)
        return code
    print(json.dumps(asdict(summary)) if arguments.json else _table(summary, folder))
    return code


def _request(arguments: argparse.Namespace) -> EvaluationRequest:
    """Return what is asked for. Raises `UsageError` for what does not go together."""
    policy: Literal["vllm", "chat", "transformers"] = "transformers"
    if arguments.vllm and arguments.endpoint:
        raise UsageError("vllm: and an endpoint as well; expected one of them")
    if arguments.vllm or arguments.endpoint:
        policy = "vllm" if arguments.vllm else "chat"
    elif arguments.checkpoint is None:
        raise UsageError("policy: none; expected --vllm, --endpoint or --checkpoint")
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
        "model", "checkpoint", "samples", "split", "seed", "dialect", "difficulty", "turns",
        "tool_calls", "seconds", "temperature", "top_p", "top_k", "context", "completion",
        "turn_tokens", "thinking", "seeded",
    )  # fmt: skip
    return EvaluationRequest(
        arguments.env_id,
        policy,
        native_tools=not arguments.text_tools,
        tasks=tasks,
        size=size,
        tools=None if arguments.tools is None else tuple(arguments.tools),
        **{name: getattr(arguments, name) for name in names},
    )


def _table(summary: Summary, folder: EvaluationFolder) -> str:
    lines = [
        f"accuracy    {_mean(summary.accuracy)}",
        *(f"  in {name:<8} {_mean(mean)}" for name, mean in summary.members.items()),
        f"reward      {_mean(summary.reward)}",
        f"episodes    {summary.episodes} of {summary.tasks} tasks",
        f"truncated   {_counts(summary.truncated)}",
        f"lost        {_counts(summary.lost)}",
    ]
    if summary.tool_call_rate is not None:
        lines.append(f"call a tool {summary.tool_call_rate:.3f}")
    if summary.sampled_tokens is not None:
        lines.append(f"tokens      {summary.sampled_tokens:,} sampled")
    if summary.lost:
        lines.append("the same command with --resume plays the lost ones again")
    return "\n".join([*lines, f"written to  {folder.path}/"])


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return "none: every episode was lost"
    error = "" if mean.error is None else f" ± {mean.error:.4f} (standard error, by task)"
    return f"{mean.value:.4f}{error}"


def _counts(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    return f"{sum(counts.values())}" + (f" ({named})" if named else "")
