"""`qwq sandbox`: run a file in the sandbox, serve the sandbox over HTTP, show its levels.

What a program prints is shown on a terminal with its control characters as escapes (`\\x1b`), so
that it cannot act on the terminal, nor imitate the closing line, which is bold there. A pipe or a
file gets the program's bytes as they are; a script reads how it ended from `--json`.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from qwq_env.errors import UsageError
from qwq_env.sandbox import (
    DEFAULT_LIMITS,
    ExecutionResult,
    LevelUnavailable,
    Limits,
    LocalSandbox,
    SandboxUnavailable,
)
from qwq_env.sandbox.cgroup import CgroupTree
from qwq_env.sandbox.levels import (
    EVERYWHERE,
    LAYERS,
    LEVELS,
    MEANING,
    WITHOUT_NAMESPACES,
    Plan,
    plans,
)
from qwq_env.sandbox.server import add_serve_arguments, serve
from qwq_env.text.characters import printable
from qwq_env.text.terminal import drawing_stream


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq sandbox run`, `serve` and `levels`."""
    parser = subparsers.add_parser("sandbox", help=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_run(actions.add_parser("run", help="run a Python file and show how it ended"))
    server = actions.add_parser("serve", help="answer execution requests over HTTP")
    add_serve_arguments(server)
    server.set_defaults(run=serve)
    levels = actions.add_parser("levels", help="what isolation this machine offers")
    levels.add_argument("--json", action="store_true", help="one JSON object")
    levels.set_defaults(run=show_levels)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the program; - reads it from standard input")
    parser.add_argument("argv", nargs="*", metavar="ARG", help="what the program sees in sys.argv")
    parser.add_argument("--stdin", metavar="FILE", help="what the program reads; nothing if absent")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds of CPU and wall time")
    parser.add_argument("--memory", type=int, metavar="MB", help="megabytes of memory")
    parser.add_argument("--require", choices=LEVELS, help="fail below this level of isolation")
    parser.add_argument("--allow-unsafe", action="store_true", help="run even without isolation")
    parser.add_argument(
        "--preload", default="", metavar="NAMES", help="modules to load first, comma-separated"
    )
    parser.add_argument("--json", action="store_true", help="the whole result as one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run a file; returns 0 where the program ended well, 1 where it did not."""
    code = sys.stdin.buffer.read() if arguments.file == "-" else _read("FILE", arguments.file)
    stdin = b"" if arguments.stdin is None else _read("--stdin", arguments.stdin)
    result = asyncio.run(_execute(arguments, code, stdin, _limits(arguments)))
    if arguments.json:
        print(json.dumps(result.to_json()))
    else:
        _show(result)
    return 0 if result.ok else 1


def _limits(arguments: argparse.Namespace) -> Limits:
    limits = DEFAULT_LIMITS
    if arguments.timeout is not None:
        limits = dataclasses.replace(
            limits, cpu_seconds=arguments.timeout, wall_seconds=arguments.timeout
        )
    if arguments.memory is not None:
        limits = dataclasses.replace(limits, memory_mb=arguments.memory)
    return limits


def _read(what: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{what}: {name}: {error.strerror}") from None


async def _execute(
    arguments: argparse.Namespace, code: bytes, stdin: bytes, limits: Limits
) -> ExecutionResult:
    sandbox = LocalSandbox(
        slots=1,
        preload=[name for name in arguments.preload.split(",") if name],
        require=arguments.require,
        allow_unsafe=arguments.allow_unsafe,
    )
    async with sandbox:
        return await sandbox.run(code, stdin=stdin, limits=limits, argv=arguments.argv)


def _show(result: ExecutionResult) -> None:
    value = "" if result.value is None else f"{result.value}\n"
    _write(sys.stdout, result.stdout + value)
    sys.stdout.flush()
    _write(sys.stderr, result.stderr)
    how = f"signal {result.signal}" if result.signal else f"exit code {result.exit_code}"
    cut = f", {' and '.join(result.truncated)} cut" if result.truncated else ""
    closing = (
        f"[{result.status}: {how}, {result.cpu_seconds:.3f} s CPU, {result.wall_seconds:.3f} s, "
        f"{result.peak_memory_bytes / 1e6:.0f} MB{cut}]"
    )
    # Bold, which no program's output can be: `qwq` shows its own control characters, too.
    bold = sys.stderr.isatty()
    print(f"\x1b[1m{closing}\x1b[0m" if bold else closing, file=drawing_stream(sys.stderr))


def _write(stream: TextIO, text: str) -> None:
    """Write what a program wrote: escaped is what the stream cannot hold (half a surrogate pair)
    and, on a terminal, what it would act on; there it ends with its line.
    """
    if stream.isatty():
        text = printable(text) + ("" if text.endswith("\n") or not text else "\n")
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def show_levels(arguments: argparse.Namespace) -> int:
    """Try each way to isolate with its canary; returns 1 where none but D holds."""
    outcomes = asyncio.run(_try_all())
    held = [plan for plan, reason in outcomes if reason is None and plan.level != "D"]
    groups = CgroupTree.create()
    if groups is not None:
        groups.remove()
    version = f"version {groups.version}" if groups is not None else None
    if arguments.json:
        print(json.dumps(_as_json(outcomes, held, version)))
        return 0 if held else 1
    for plan, reason in outcomes:
        state = "holds" if reason is None else f"does not hold: {reason}"
        if plan.level == "D" and reason is None:
            state = "runs, and isolates nothing"
        print(f"{plan.level}  {', '.join(plan.layers)}: {state}")
    print(
        f"\nin force: {held[0].level if held else 'none; D must be allowed by allow_unsafe=True'}"
    )
    for level in LEVELS:
        print(f"  {level}: {MEANING[level]}")
    print("layers:")
    for layer in LAYERS:
        mark = "*" if held and layer in held[0].layers else " "
        print(f" {mark} {layer}: {LAYERS[layer]}")
    print(
        f" {'*' if version else ' '} control groups ({version or 'cannot be made here'}): "
        "memory, processes and CPU time are counted for the whole program, not for each process"
    )
    print("at every level:")
    for line in EVERYWHERE:
        print(f"   {line}")
    print("without namespaces (B, and C without them):")
    for line in WITHOUT_NAMESPACES:
        print(f"   {line}")
    return 0 if held else 1


def _as_json(
    outcomes: list[tuple[Plan, str | None]], held: list[Plan], cgroup: str | None
) -> dict[str, Any]:
    tried = [
        {"level": plan.level, "layers": plan.layers, "holds": reason is None, "reason": reason}
        for plan, reason in outcomes
    ]
    return {"level": held[0].level if held else None, "cgroup": cgroup, "tried": tried}


async def _try_all() -> list[tuple[Plan, str | None]]:
    outcomes: list[tuple[Plan, str | None]] = []
    for plan in plans():
        sandbox = LocalSandbox(
            slots=1, preload=(), plan=plan, allow_unsafe=plan.level == "D", cgroup="off"
        )
        try:
            async with sandbox:
                await sandbox.start()
        except (LevelUnavailable, SandboxUnavailable) as error:
            outcomes.append((plan, str(error)))
        else:
            outcomes.append((plan, None))
    return outcomes
