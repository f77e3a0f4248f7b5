"""The classic `ToolEnv` of verifiers 0.3.1, the last version that has it: tools in-process.

    python benchmarks/_official_verifiers_classic.py URL CONCURRENCY

Run by its own interpreter, asked over a pipe.
"""

from __future__ import annotations

import sys
from typing import Any

import verifiers.legacy as vf
from _side import answer
from datasets import Dataset


async def calculator(expression: str) -> str:
    """Evaluate a sum of two whole numbers.

    Args:
        expression: The sum.
    """
    left, right = expression.split("+")
    return str(int(left) + int(right))


async def correct(completion: Any, answer: str) -> float:
    """Look for the value in the last reply."""
    return float(f"\\boxed{{{answer}}}" in str(completion[-1]["content"]))


def main(url: str, concurrency: int) -> None:
    """Wait to be asked."""
    client = vf.ClientConfig(api_base_url=url, api_key_var="INSTANT_KEY")

    # It wants one; what is played is given to `generate`.
    dataset = Dataset.from_list([{"question": "What is 1+7?", "answer": "8"}])
    env = vf.ToolEnv(tools=[calculator], dataset=dataset, rubric=vf.Rubric(funcs=[correct]))

    async def play(asked: str) -> int:
        inputs = [
            {
                "example_id": i,
                "prompt": [{"role": "user", "content": f"What is {i}+7?"}],
                "answer": str(i + 7),
            }
            for i in range(int(asked))
        ]
        found = await env.generate(
            inputs, client, "instant", max_concurrent=concurrency, on_progress=_silent,
            on_start=_silent,
        )  # fmt: skip
        return sum(output["reward"] == 1.0 for output in found["outputs"])

    answer(play)


def _silent(*told: object) -> None:
    """No progress bar."""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
