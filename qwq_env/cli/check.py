"""`qwq check`: hold a thing of yours, a chat template or a sampler against the truth."""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from qwq_env.cli import check_thing
from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.dialect.conformance import difference_of, read_rows
from qwq_env.dialect.load_tokenizer import load_tokenizer
from qwq_env.dialect.template_check import Finding, TemplateCheck
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.imports import heavy_imports, missing_extra
from qwq_env.registry import make_environment
from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.evaluation.numerics import Figures, Report

_MEANING = {
    "renders": "the template takes a conversation with thinking and tools",
    "thinking": "earlier thinking stays in the text",
    "append-only": "what was written once is never written in another way",
    "dialect": "the dialect writes what the template writes",
    "ids": "an appended episode has the ids of its text rendered again",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq check dialect`, `template`, `grader` and `numerics`."""
    parser = subparsers.add_parser(
        "check",
        help="hold a thing of yours, a template or a sampler against the truth",
        description="`qwq check MODULE:THING` holds an environment, a tool, a tool set, a dialect"
        " or a grader of yours against the conformance kit (`qwq check thing --help`). Each check"
        " exits 0 if all holds, 1 if something does not.",
    )
    checks = parser.add_subparsers(dest="check", metavar="MODULE:THING | WHAT", required=True)
    check_thing.add_parser(checks)

    dialect = checks.add_parser("dialect", help="compare a dialect with recorded renderings")
    dialect.add_argument("name", help=f"one of {', '.join(dialect_names())}")
    dialect.add_argument("file", type=Path, help="JSONL: a conversation and its text a line")
    dialect.set_defaults(run=run_dialect)

    template = checks.add_parser("template", help="see what a chat template does to an episode")
    template.add_argument("model", type=Path, help="the folder of a checkpoint")
    template.add_argument("--dialect", default="qwq", help="the dialect to compare it with")
    template.set_defaults(run=run_template)

    grader = checks.add_parser(
        "grader",
        help="see what an environment pays policies that cheat",
        description="Plays policies that cheat, and one that knows the answer. Some call every tool"
        " with arguments drawn at random: take tools that may be called so.",
    )
    grader.add_argument("env_id", help="the environment, for example qwq/MathTool-v0")
    grader.add_argument("--tasks", type=int, default=64, help="tasks that each one plays (64)")
    grader.add_argument("--threshold", type=float, default=0.05, help="what a cheat may get (0.05)")
    grader.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    grader.set_defaults(run=run_grader)
    _add_numerics(checks)


def expand(arguments: list[str]) -> list[str]:
    """Return `check thing MODULE:THING` for `check MODULE:THING`."""
    after = arguments.index("check") + 1
    what = arguments[after] if after < len(arguments) else "-"
    if what.startswith("-") or what in ("thing", "dialect", "template", "grader", "numerics"):
        return arguments
    return [*arguments[:after], "thing", *arguments[after:]]


def _add_numerics(checks: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    numerics = checks.add_parser(
        "numerics",
        help="see whether sampler and trainer give the same tokens the same probability",
        description="Samples episodes of many turns until the context is full, with forced"
        " observations in between, and computes the same tokens as a trainer does: in one plain"
        " forward pass. The sampler is the checkpoint itself, decoding with its cache, or a vLLM"
        " server of the same weights.",
    )
    numerics.add_argument("checkpoint", help="the folder of the checkpoint")
    numerics.add_argument("--vllm", metavar="URL", help="http://host:port; key: VLLM_API_KEY")
    numerics.add_argument("--model", help="the name to ask the server for (the first it has)")
    numerics.add_argument("--env", default="qwq/MathTool-v0", help="whose tasks (qwq/MathTool-v0)")
    numerics.add_argument("--context", type=int, default=4096, help="tokens to fill (4096)")
    numerics.add_argument("--episodes", type=int, default=8, help="at a time (8)")
    numerics.add_argument("--temperature", type=float, default=1.0, help="that of training (1)")
    numerics.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="what the trainer computes in (bfloat16 on a GPU, else float32)",
    )
    numerics.add_argument("--width", type=int, default=1024, help="tokens of a depth (1024)")
    numerics.add_argument("--seed", type=int, default=0, help="of what is sampled (0)")
    numerics.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    numerics.set_defaults(run=run_numerics)


def run_dialect(arguments: argparse.Namespace) -> int:
    """Print the first difference of each row that differs. Exit code 1 if one does."""
    dialect = make_dialect(arguments.name)
    rows = read_rows(arguments.file)
    different = 0
    for row, found in [(row, difference_of(dialect, row)) for row in rows]:
        if found is None:
            continue
        different += 1
        _say(f"{row.name} ({row.where}): differs at character {found.position}")
        print(f"  recorded {found.expected!r}")
        print(f"  rendered {found.found!r}")
    print(f"{len(rows)} rows: {len(rows) - different} equal, {different} different")
    return 1 if different else 0


def run_template(arguments: argparse.Namespace) -> int:
    """Print a line a check, and where it first fails. Exit code 1 if one fails."""
    dialect = make_dialect(arguments.dialect)
    tokenizer = load_tokenizer(arguments.model)
    if not tokenizer.chat_template:
        raise UsageError(f"model: {str(arguments.model)!r} has a tokenizer without a chat template")
    grouped: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in TemplateCheck(tokenizer, dialect).run():
        grouped[finding.check].append(finding)
    _say(f"the chat template of {arguments.model}, beside the dialect {dialect.name!r}")
    for check, findings in grouped.items():
        failed = [finding for finding in findings if not finding.passed]
        verdict = "FAIL" if failed else "ok"
        print(f"{verdict:5} {check:12} {_MEANING[check]} ({len(findings) - len(failed)} of "
              f"{len(findings)} conversations)")  # fmt: skip
        for finding in failed:
            _say(f"      {finding.conversation}: {finding.detail}")
    return 1 if any(not f.passed for findings in grouped.values() for f in findings) else 0


def run_grader(arguments: argparse.Namespace) -> int:
    """Print what each policy is paid. Exit code 1 if a cheat is, or the oracle is not."""
    if not 0 <= arguments.threshold < 1:
        raise UsageError(f"threshold: {arguments.threshold}; expected a number from 0, below 1")
    env = make_environment(arguments.env_id)
    results = audit_rewards(env, tasks=arguments.tasks)
    failed = faults(results, arguments.threshold)
    if arguments.json:
        paid = [asdict(each) for each in results]
        print(json.dumps({"sound": not failed, "failed": failed, "paid": paid}))
        return 1 if failed else 0
    print(f"{'policy':<24}{'mean reward':>12}{'undecided':>11}")
    for each in results:
        members = "".join(f"  {name} {_rounded(paid)}" for name, paid in each.members.items())
        print(f"{each.policy:<24}{_rounded(each.mean):>12}{each.undecided:>11}{members}")
    if printed := results[-1].printed:
        print(
            f"note: in {printed} of {results[-1].episodes} tasks the oracle only said the answer;"
            " give the environment a `solve` that plays its tools (a cold start plays it, too)"
        )
    verdict = f"NOT SOUND: {'; '.join(failed)}" if failed else "only the oracle is paid"
    _say(f"{arguments.env_id}, {arguments.tasks} tasks: {verdict}")
    return 1 if failed else 0


def run_numerics(arguments: argparse.Namespace) -> int:
    """Print the differences by depth. Exit code 1 if one lies above the bound."""
    try:
        with heavy_imports():
            from qwq_env.evaluation.numerics_sampler import (  # noqa: PLC0415 - optional
                check_checkpoint,
            )
    except ModuleNotFoundError as error:
        raise missing_extra(error, "train") from None
    report = check_checkpoint(
        arguments.checkpoint,
        make_environment(arguments.env),
        url=arguments.vllm,
        model_name=arguments.model,
        api_key=os.environ.get("VLLM_API_KEY") or None,
        dtype=arguments.dtype,
        context=arguments.context,
        episodes=arguments.episodes,
        temperature=arguments.temperature,
        width=arguments.width,
        seed=arguments.seed,
    )
    if arguments.json:
        print(json.dumps({"agrees": not report.faults, "faults": report.faults, **asdict(report)}))
    else:
        _say_numerics(report)
    return 1 if report.faults else 0


def _say_numerics(report: Report) -> None:
    _say(
        f"{report.sampler} beside a full pass in {report.dtype}: {report.episodes} episodes,"
        f" temperature {report.temperature:g}"
    )
    print(
        f"{'depth':>13} {'tokens':>7} {'mean |d|':>9} {'max |d|':>9} {'KL (k1)':>10} {'KL (k3)':>9}"
        f" {'clipped':>8} {'ESS':>7} {'episodes':>8}"
    )
    for figures in report.depths:
        print(_numerics_row(f"{figures.begin}-{figures.end}", figures))
    print(_numerics_row("all", report.total))
    bound = report.bound
    print(
        f"bound in {report.dtype}: a mean |d| of {bound.mean:g} and a KL (k3) of {bound.k3:g} nats"
        " a token (why: qwq_env/evaluation/numerics.py)"
    )
    for fault in report.faults:
        print(f"RED: {fault}")
    if not report.faults:
        print("GREEN: sampler and trainer agree")


def _numerics_row(name: str, f: Figures) -> str:
    return (
        f"{name:>13} {f.tokens:>7} {f.mean:>9.2e} {f.maximum:>9.2e} {f.k1:>10.1e} {f.k3:>9.1e}"
        f" {f.outside:>8.2%} {f.effective:>7.2%} {f.episodes_effective:>8.2%}"
    )


def _rounded(mean: float | None) -> str:
    return "-" if mean is None else f"{mean:.3f}"


def _say(line: str) -> None:
    """Print a line that holds names or texts of a file, which are anyone's."""
    print(printable(line, lines=False))
