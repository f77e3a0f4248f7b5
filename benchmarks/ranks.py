"""Several ranks, one server, episodes of unequal length: whose tokens does each rank get?

    qwq bench ranks [--ranks 2 4] [--trials 200] [--only ours | trl] [--json] [--out FILE]

Ours: the stock GRPOTrainer with `Rollouts` and `VllmPolicy` on gloo ranks, in random trials. One
rank's episodes are long, the others' short; the server is slow, overloaded and refusing at random.
Each rank holds every prompt id, completion id, mask bit, log-probability and reward against what
was planned for its own prompts.

The contrast: TRL's own tool loop with the same server. "unequal": both ranks have tools to
call, one of them more, and each takes its share of the answers by its own count. "one_rank": only
one has, and its collectives meet others; gloo notices that where the sizes differ, and the rank
dies. A run that has not ended after `--deadline` seconds is reported as hanging.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# What every rank reads when it imports torch and TRL.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
sys.path.insert(0, str(Path(__file__).parent))

from _fork import start
from _process import served
from _result import run

FOUND = ("episodes", "lost", "tokens", "foreign_tokens", "foreign_logprobs", "foreign_rewards")


def main(argv: list[str]) -> int:
    """Run the trials and the contrast; 1 if a token of ours is not where it belongs."""
    parser = argparse.ArgumentParser(prog="qwq bench ranks", description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--only", choices=["ours", "trl"])
    parser.add_argument("--deadline", type=float, default=45.0, help="seconds for a contrast")
    result = run(parser, argv, measure, lambda found: json.dumps(found, indent=1))
    return int(any(not found["right"] for found in result.get("ours", {}).values()))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for."""
    result: dict[str, Any] = {}
    with served("_rank_server.py") as url:
        if arguments.only != "trl":
            result["trials"] = arguments.trials
            result["ours"] = {n: ours(url, n, arguments.trials) for n in arguments.ranks}
        if arguments.only != "ours":
            cases = ("unequal", "one_rank")
            result["trl"] = {case: trl(url, case, arguments.deadline) for case in cases}
    return result


def ours(url: str, ranks: int, trials: int) -> dict[str, Any]:
    """Return what all ranks found together; `right` if nothing is foreign and nothing hung."""
    start = time.perf_counter()
    deadline = 300 + 2.0 * trials
    found = run_ranks("_rank_ours", ranks, (url, trials), deadline)
    seconds = round(time.perf_counter() - start, 1)
    if isinstance(found, str):
        return {"right": False, "failure": found, "seconds": seconds}
    sums = {key: sum(rank.get(key, 0) for rank in found) for key in FOUND}
    assert all(rank["world"] == ranks for rank in found), found
    right = sums["tokens"] > 0 and not any(sums[key] for key in FOUND if key.startswith("foreign"))
    return {"right": right, **sums, "seconds": seconds}


def trl(url: str, case: str, deadline: float) -> dict[str, Any]:
    """Return how TRL's own loop fared in one case."""
    found = run_ranks("_rank_trl", 2, (url, case), deadline)
    if isinstance(found, str):
        return {"right": False, "failure": found}
    foreign = sum(rank["foreign_rows"] for rank in found)
    rows = sum(rank["rows"] for rank in found)
    return {"right": foreign == 0, "rows": rows, "foreign_rows": foreign}


def run_ranks(
    module: str, ranks: int, arguments: tuple[Any, ...], deadline: float
) -> list[dict[str, Any]] | str:
    """Run a module's `main` as so many ranks; return what each wrote, or how they failed.

    Those of a run that hangs are ended.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        processes = start_ranks(module, ranks, arguments, folder)
        try:
            failure = _wait(processes, deadline)
        finally:
            for process in processes:
                process.kill()
                process.join()
        if failure:
            texts = [_last_line(folder / f"log-{rank}") for rank in range(ranks)]
            return f"{failure}; " + "; ".join(f"rank {i}: {t}" for i, t in enumerate(texts) if t)
        return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(ranks)]


def start_ranks(
    module: str, ranks: int, arguments: tuple[Any, ...], folder: Path
) -> list[BaseProcess]:
    """Begin a module's `main(*arguments, folder)` as so many ranks, which log to `folder`.

    The processes are started here, with the variables that torchrun sets, so that those of a run
    that hangs can be ended by whoever started them.
    """
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    return [
        start(
            module,
            (*arguments, folder),
            {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            folder / f"log-{rank}",
        )
        for rank in range(ranks)
    ]


def _wait(processes: Sequence[BaseProcess], deadline: float) -> str:
    """Wait until all have ended; return what went wrong, empty if nothing did."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        codes = [process.exitcode for process in processes]
        for rank, code in enumerate(codes):
            if code:
                return f"rank {rank} ended with {code}"
        if None not in codes:
            return ""
        time.sleep(0.05)
    hanging = [rank for rank, process in enumerate(processes) if process.exitcode is None]
    return f"ranks {hanging} still wait after {deadline:g} s"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
