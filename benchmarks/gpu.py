"""What only a GPU can show, within a quarter of an hour: bounded parts that leave each its result.

    qwq bench gpu [--minutes 12] [--parts numerics lora ...] [--small] [--json] [--out FILE]

- `numerics`: sampler and trainer on the same tokens in bfloat16, by depth to 32k, and in float32.
- `lora`: ten steps of adapters on 32 billion random weights, with rows as long as `qwq plan` says
  that this GPU can hold: the peak beside the plan's figure, and seconds a step.
- `learning`: recipes/smollm2-135m.yaml, where its weights are, for the time that is left.
- `async`: one step of TRL's AsyncGRPO trainer on rows of `AsyncRollouts`.

Each part runs in a process of its own, so that one that fails, or is ended by its time, costs no
other its result; the file is written after each. `--small` is the rehearsal: the same code on a
CPU, at sizes that a laptop holds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write

ROOT = Path(__file__).resolve().parents[1]
SHARES = {"numerics": 0.2, "lora": 0.3, "learning": 0.4, "async": 0.1}
"""Of the minutes; what a part leaves over goes to those after it."""


def main(argv: list[str]) -> int:
    """Run the parts; exit code 1 if one came to nothing."""
    parser = argparse.ArgumentParser(prog="qwq bench gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--parts", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--small", action="store_true", help="a rehearsal, on whatever is here")
    result = run(parser, argv, measure)
    return 1 if any("error" in result.get(part, {}) for part in SHARES) else 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run each part in its own process, for its share of the time."""
    result: dict[str, Any] = {"device": _device(), "small": arguments.small}
    end, left = time.monotonic() + 60 * arguments.minutes, sum(SHARES[p] for p in arguments.parts)
    for part in arguments.parts:
        seconds = (end - time.monotonic()) * SHARES[part] / left
        left -= SHARES[part]
        result[part] = _apart(part, seconds, small=arguments.small)
        write(result, arguments)
    return result


def _apart(part: str, seconds: float, *, small: bool) -> dict[str, Any]:
    """Return what a part found, or why it found nothing, and the seconds it took."""
    script = Path(__file__).with_name("_gpu_parts.py")
    command = [sys.executable, str(script), part, str(seconds)]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*command, *(["--small"] if small else [])],
            cwd=ROOT, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
        lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        last = lines[-1] if lines else ""
        found = json.loads(last) if done.returncode == 0 else {"error": last}
    except subprocess.TimeoutExpired as ended:
        found = {**_so_far(ended.stdout or b""), "ended": f"after {seconds:.0f} seconds"}
        if len(found) == 1:
            found = {"error": f"nothing within {seconds:.0f} seconds"}
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def _so_far(output: bytes) -> dict[str, Any]:
    """Return what a part that was ended had found, by the last whole line that it printed."""
    for line in reversed(output.decode(errors="replace").splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {}


def _device() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
