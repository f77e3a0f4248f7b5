"""qwq bench instructions_agreement [--json] [--data ifeval.jsonl] [--responses 8]

Our 25 instruction checks against lm-eval's, verdict by verdict, strict and loose, over responses
made for real prompts. Makes an environment with `lm-eval[ifeval]` on first use. Punkt's English
model, which lm-eval would download, is taken from the wheel of `llama-index-core`, installed there
without its dependencies. Our checks run twice: as shipped, and with the knowledge read from that
model.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwq_env.grading.instructions import BUILT_IN, check_instructions, read_knowledge

sys.path.insert(0, str(Path(__file__).parent))
from _instruction_responses import responses
from _official import ask, environment
from _result import run

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "qwq_eval" / "ifeval.jsonl"
LM_EVAL = "lm-eval[ifeval]==0.4.13"
PUNKT = "llama-index-core==0.14.25"
PUNKT_DATA = "llama_index/core/_static/nltk_cache"

KNOWN = {
    "letter_not_a_to_z": "keywords:letter_frequency with a letter such as # or !: lm-eval draws a "
    "random letter instead; we count the character asked for.",
}
NOT_IN_THE_DATA = [
    "keywords with regular-expression characters: lm-eval matches them as expressions, we as text",
    "a threshold of 0 or below, or a missing parameter: lm-eval draws a random one, we count with "
    "0 and refuse the others",
    "JSON nested beyond the parser's depth: lm-eval raises, we say it is not JSON",
]


def main(argv: list[str]) -> int:
    result = run(_parser(), argv, _measure, _table)
    return 0 if result["punkt_model"]["unexplained"] == 0 else 1


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    python = environment("lm-eval-0.4.13", [LM_EVAL], ["--no-deps", PUNKT])
    nltk_data = _nltk_data(python)
    rows = _rows(options.data, options.responses, options.seed)
    started = time.perf_counter()
    ours = {"built_in": [_ours(row, BUILT_IN) for row in rows]}
    seconds = time.perf_counter() - started
    knowledge = read_knowledge(nltk_data / "tokenizers" / "punkt_tab" / "english")
    ours["punkt_model"] = [_ours(row, knowledge) for row in rows]
    os.environ["NLTK_DATA"] = str(nltk_data)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    theirs = [json.loads(line) for line in ask(python, "_official_ifeval.py", lines).splitlines()]
    return {
        "responses": len(rows),
        "prompts": len({row["prompt"] for row in rows}),
        "data": options.data.name,
        "lm_eval": LM_EVAL,
        "followed_strict": round(_followed(theirs), 3),
        "ours_responses_per_s": round(len(rows) / seconds),
        **{name: _compare(rows, verdicts, theirs) for name, verdicts in ours.items()},
        "known_differences": KNOWN,
        "known_differences_not_in_the_data": NOT_IN_THE_DATA,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="qwq bench instructions_agreement")
    parser.add_argument("--data", type=Path, default=DATA, help="IFEval's rows, one a line")
    parser.add_argument("--responses", type=int, default=8, help="responses for each prompt")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _nltk_data(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip()) / PUNKT_DATA


def _rows(data: Path, count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    return [{**row, "response": text} for row in rows for text in responses(row, rng, count)]


def _ours(row: dict[str, Any], knowledge: Any) -> list[list[bool | None]]:
    report = check_instructions(
        row["instruction_id_list"],
        row["kwargs"],
        row["prompt"],
        row["response"],
        knowledge=knowledge,
    )
    return [
        [verdict.strict for verdict in report.verdicts],
        [verdict.loose for verdict in report.verdicts],
    ]


def _followed(verdicts: list[Any]) -> float:
    return sum(map(all, (strict for strict, _ in verdicts))) / len(verdicts)


def _explained(instruction: str, kwargs: dict[str, Any]) -> str | None:
    if instruction == "keywords:letter_frequency" and not "a" <= kwargs["letter"].lower() <= "z":
        return "letter_not_a_to_z"
    return None


def _compare(rows: list[dict[str, Any]], ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    """Per check: verdicts compared, how many agree, and the explained and unexplained rest."""
    checked, agreed = Counter[str](), Counter[str]()
    explained = Counter[str]()
    examples: list[dict[str, Any]] = []
    for row, mine, official in zip(rows, ours, theirs, strict=True):
        pairs = zip(row["instruction_id_list"], row["kwargs"], strict=True)
        for place, (instruction, kwargs) in enumerate(pairs):
            for mode in (0, 1):
                why = _explained(instruction, kwargs)
                same = mine[mode][place] == official[mode][place]
                if not same and why:
                    explained[why] += 1
                    continue
                checked[instruction] += 1
                agreed[instruction] += same
                if not same:
                    examples.append(
                        {
                            "instruction": instruction,
                            "kwargs": kwargs,
                            "loose": bool(mode),
                            "ours": mine[mode][place],
                            "response": row["response"][:300],
                        }
                    )
    return {
        "verdicts": checked.total(),
        "agreed": agreed.total(),
        "agreement": round(agreed.total() / checked.total(), 6),
        "unexplained": checked.total() - agreed.total(),
        "explained": dict(explained),
        "per_check": {
            name: {"verdicts": checked[name], "agreed": agreed[name]} for name in sorted(checked)
        },
        "examples": examples[:10],
    }


def _table(result: Mapping[str, Any]) -> str:
    lines = [
        f"{result['responses']} responses to {result['prompts']} prompts",
        f"{'check':45} {'verdicts':>9} {'as shipped':>11} {'with model':>11}",
    ]
    shipped, model = result["built_in"]["per_check"], result["punkt_model"]["per_check"]
    for name, counts in shipped.items():
        lines.append(
            f"{name:45} {counts['verdicts']:9} {counts['agreed']:11} {model[name]['agreed']:11}"
        )
    for name in ("built_in", "punkt_model"):
        part = result[name]
        lines.append(f"{name}: {part['agreed']}/{part['verdicts']}; explained: {part['explained']}")
        lines += [f"  differs: {json.dumps(e, ensure_ascii=False)}" for e in part["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
