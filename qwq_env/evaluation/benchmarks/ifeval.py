"""IFEval: 541 prompts whose instructions a program checks. Zhou et al. 2023, arXiv:2311.07911."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.envs.instruction import RulesFollowed, instruction_row
from qwq_env.evaluation.benchmarks.protocol import (
    GREEDY,
    QWQ_SOURCE,
    Benchmark,
    Hub,
    Protocol,
)
from qwq_env.rubric import Component

_QWQ: Final = Protocol(
    prompt="the prompt as it is",
    extraction="all after the thinking",
    judge="qwq/Instruction-v0, rules as published: all instructions of a prompt, strictly; beside"
    " it loosely, and the share of instructions",
    metric="strict prompt: the share of prompts all of whose instructions are followed",
    source=QWQ_SOURCE,
    arguments={"rules": "ifeval"},
    read=instruction_row,
)

IFEVAL: Final = Benchmark(
    name="ifeval",
    title="IFEval, prompt-level strict",
    environment="qwq/Instruction-v0",
    size=541,
    home="https://github.com/QwenLM/QwQ (eval/data/ifeval.jsonl)",
    hub=Hub("google/IFEval", split="train"),
    forms={"google/IFEval": ("prompt", "instruction_id_list", "kwargs")},
    files=("ifeval.jsonl", "input_data.jsonl", "ifeval_input_data.jsonl"),
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ, metric="strict prompt, greedy", source="arXiv:2311.07911", sampling=GREEDY
        ),
    },
    measures=(
        Component("loose", RulesFollowed(loose=True, rules="ifeval"), weight=0.0),
        Component("share of instructions", RulesFollowed(share=True, rules="ifeval"), weight=0.0),
    ),
)
