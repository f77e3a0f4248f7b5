"""`qwq eval BENCHMARK|ENV_ID`: how well a policy does, with its error, and every episode kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qwq_env.cli.eval_request import request_of
from qwq_env.cli.eval_table import summary_table
from qwq_env.env import ToolEnv
from qwq_env.errors import ServersGone, UsageError, brief
from qwq_env.evaluation.benchmarks import BENCHMARKS
from qwq_env.evaluation.folder import EvaluationFolder
from qwq_env.evaluation.meter import prices_of
from qwq_env.evaluation.request import EvaluationRequest
from qwq_env.files.atomic import write_whole
from qwq_env.http.endpoints import ENDPOINTS, find_endpoint
from qwq_env.imports import missing_extra
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.thinking_budget import FINAL_ANSWER
from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.evaluation.summary import Summary


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
        "names",
        nargs="+",
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
    policy.add_argument(
        "--endpoint",
        metavar="URL|NAME",
        help=f"a chat endpoint, http://host:port/v1, or {', '.join(ENDPOINTS)}",
    )
    policy.add_argument("--model", help="the name to ask for (vLLM: by default the first it has)")
    policy.add_argument(
        "--checkpoint",
        metavar="DIR|ID",
        help="the folder of a checkpoint; without --vllm also a model of the hub's, owner/name",
    )
    policy.add_argument(
        "--answers", metavar="FILE", help='stored answers: rows {"task_id" or "prompt", "response"}'
    )
    policy.add_argument(
        "--key-variable", metavar="NAME", help="holds the endpoint's key (OPENAI_API_KEY)"
    )
    policy.add_argument(
        "--extra", metavar="JSON", help="settings that each request to the endpoint carries too"
    )
    policy.add_argument(
        "--price", nargs=2, type=float, metavar=("PROMPT", "REPLY"),
        help="of a million tokens, to show what it costs",
    )  # fmt: skip
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
    episodes.add_argument(
        "--argument", action="append", default=[], metavar="NAME=VALUE",
        help="whatever else the environment takes, as text or JSON, such as"
        " user=chat:http://host:8000/v1:MODEL or its settings as an object",
    )  # fmt: skip
    episodes.add_argument("--context", type=int, help="tokens, with the prompt (32768)")
    episodes.add_argument("--completion", type=int, help="tokens after the prompt (32768)")
    episodes.add_argument("--turn-tokens", type=int, help="tokens of a turn (32768)")
    episodes.add_argument("--thinking", choices=["keep", "strip"], default="keep")
    episodes.add_argument(
        "--thinking-tokens", type=int, metavar="N", help="of a turn; one that still thinks is cut"
    )
    episodes.add_argument(
        "--force-answer",
        dest="forced_answer",
        nargs="?",
        const=FINAL_ANSWER,
        metavar="WORDS",
        help=f"close the thinking there instead, put these words ({FINAL_ANSWER}) and go on",
    )
    episodes.add_argument(
        "--and-bare", action="store_true", help="play it without the --tools too, and compare"
    )
    episodes.add_argument("--concurrency", type=int, default=64, help="episodes at a time (64)")


def run(arguments: argparse.Namespace) -> int:
    """Play and print; 0, or 1 if no server is left or nothing was scored, 130 if interrupted."""
    parts = _parts(arguments)
    prepared = [_prepare(arguments, part) for part in parts]
    found = []
    for part, (request, settings) in zip(parts, prepared, strict=True):
        code = _evaluate(arguments, request, settings, EvaluationFolder(part.folder))
        if code == 130 or (code and not _is_whole(part.folder)):
            return code
        found.append(code)
    if len(parts) > 1:
        _tell_together(arguments, parts)
    return max(found)


class _Part(NamedTuple):
    """One evaluation of those that a command asks for."""

    name: str
    tools: list[str] | None
    folder: Path


def _parts(arguments: argparse.Namespace) -> list[_Part]:
    """Return what is to be played, each in a folder of its own, where there are several."""
    names, out = arguments.names, arguments.out
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"benchmark: {brief(twice[0])} twice; expected it once")
    if arguments.and_bare and not arguments.tools:
        raise UsageError("and_bare: without --tools; expected those to compare with")
    folders = {name: name.replace("/", ".") if len(names) > 1 else "" for name in names}
    if not arguments.and_bare:
        return [_Part(name, arguments.tools, out / folders[name]) for name in names]
    return [
        _Part(name, tools, out / how / folders[name])
        for name in names
        for how, tools in (("bare", []), ("tools", arguments.tools))
    ]


def _prepare(
    arguments: argparse.Namespace, part: _Part
) -> tuple[EvaluationRequest, Mapping[str, Any]]:
    """Check a part before any is played."""
    request = request_of(arguments, part.name, part.tools)
    settings = request.settings()
    EvaluationFolder(part.folder).check(settings, resume=arguments.resume)
    return request, settings


def _is_whole(folder: Path) -> bool:
    return EvaluationFolder(folder).summary.exists()


def _evaluate(
    arguments: argparse.Namespace,
    request: EvaluationRequest,
    settings: Mapping[str, Any],
    folder: EvaluationFolder,
) -> int:
    # What is loaded from here on takes seconds.
    try:
        from qwq_env.evaluation.player import Place, make_player  # noqa: PLC0415
        from qwq_env.evaluation.report import write_report  # noqa: PLC0415
        from qwq_env.evaluation.run import description, run_evaluation  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra(error, "train") from None
    prices = prices_of(arguments.price)
    data = request.load_data()
    env = request.make_environment(data)
    urls, key_variable = arguments.vllm, "OPENAI_API_KEY"
    if arguments.endpoint:
        url, key_variable, _ = find_endpoint(arguments.endpoint, arguments.key_variable)
        urls = [url]
    place = Place(urls, key_variable, arguments.concurrency, arguments.grace)
    player = make_player(request, place, env)
    folder.begin(settings)
    if (note := request.note_of_tasks(env)) is not None:
        print(printable(f"qwq: {note}", lines=False), file=sys.stderr)
    try:
        summary, trajectories = run_evaluation(
            request, env, player, place, folder,
            journal=arguments.journal, data=data, prices=prices,
        )  # fmt: skip
    except (ServersGone, KeyboardInterrupt) as error:
        return _tell_stopped(error, request, env, folder)
    told = None if data is None else description(request, env, data)
    write_report(folder, summary, trajectories, player.codec, told)
    print(_json(summary, told) if arguments.json else summary_table(summary, folder, told))
    return 0 if summary.accuracy is not None else 1


def _tell_stopped(
    error: BaseException, request: EvaluationRequest, env: ToolEnv, folder: EvaluationFolder
) -> int:
    interrupted = isinstance(error, KeyboardInterrupt)
    what = "interrupted" if interrupted else f"failed: {error}"
    with EpisodeStore(folder.episodes) as store:
        stored = len(store.played())
    total = request.tasks_in(env) * request.samples
    told = f"qwq: {what}; {stored} of {total} episodes are stored in {folder.path}"
    print(f"{told}; the same command with --resume goes on", file=sys.stderr)
    return 130 if interrupted else 1


def _tell_together(arguments: argparse.Namespace, parts: Sequence[_Part]) -> None:
    """Compare what was played, with and without tools, or beside published figures."""
    from qwq_env.evaluation.comparison import compare_runs  # noqa: PLC0415 - after the others
    from qwq_env.evaluation.comparison_page import comparison_page  # noqa: PLC0415
    from qwq_env.evaluation.comparison_report import as_json, markdown  # noqa: PLC0415

    out: Path = arguments.out
    comparison = compare_runs([out / "bare", out / "tools"] if arguments.and_bare else [out])
    tables = markdown(comparison)
    write_whole(out / "comparison.md", tables + "\n")
    write_whole(out / "report.html", comparison_page(comparison))
    print(json.dumps(as_json(comparison)) if arguments.json else printable(tables))


def _json(summary: Summary, told: Mapping[str, Any] | None) -> str:
    return json.dumps({**({} if told is None else {"benchmark": told}), **asdict(summary)})
