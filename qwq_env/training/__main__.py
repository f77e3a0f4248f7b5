"""`accelerate launch -m qwq_env.training recipes/tiny.yaml`: `qwq train` on several processes.

`accelerate launch --cpu --num_processes 2` starts one process, without a word: it knows no
launcher for several on CPU but MPI. What it leaves behind shows it (`MASTER_ADDR` is set, `RANK`
is not), and then this module starts the processes that were asked for, with torchrun.
"""

from __future__ import annotations

import os
import sys

import psutil

from qwq_env.cli import main
from qwq_env.errors import UsageError


def processes_asked_for() -> int:
    """Return the `--num_processes` of the `accelerate launch` that started us, 1 if none did."""
    launcher = psutil.Process().parent()
    words = [] if launcher is None else launcher.cmdline()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name.replace("-", "_") == "__num_processes":
            return int(value or following)
    return 1


def start_all(processes: int) -> None:
    """Replace this process by torchrun with that many of it."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, "-m", *launcher, "-m", "qwq_env.training", *sys.argv[1:]]
    os.execv(sys.executable, command)


def run() -> int:
    """Run on the processes that were asked for."""
    if "MASTER_ADDR" in os.environ and "RANK" not in os.environ:
        processes = processes_asked_for()
        if processes < 2:
            error = UsageError(
                "accelerate: several processes were asked for and one was started;"
                " use --config_file recipes/accelerate/cpu.yaml"
            )
            print(f"qwq: error: {error}", file=sys.stderr)
            return 2
        del os.environ["MASTER_ADDR"]
        os.environ.pop("MASTER_PORT", None)
        start_all(processes)
    return main(["train", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(run())
