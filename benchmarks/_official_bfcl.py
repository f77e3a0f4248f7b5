"""Run by the interpreter that has bfcl-eval: rows on stdin, its verdicts on stdout.

Its registry of models imports every vendor's client; a stub stands in for it.
"""

import json
import sys
import types

registry = types.ModuleType("bfcl_eval.constants.model_config")
registry.MODEL_CONFIG_MAPPING = {"model": types.SimpleNamespace(underscore_to_dot=False)}
sys.modules[registry.__name__] = registry

from bfcl_eval.constants.enums import Language  # noqa: E402 (the stub must come first)
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # noqa: E402
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import (  # noqa: E402
    multi_turn_checker,
)


def match(row: dict) -> bool:
    verdict = ast_checker(
        row["function"],
        row["calls"],
        row["ground_truth"],
        Language[row["language"].upper()],
        row["category"],
        "model",
    )
    return verdict["valid"]


def episode(row: dict, number: int) -> bool:
    turns = [[turn] if turn else [] for turn in row["turns"]]
    # It keeps its services in a global under the model's name: a new name for each episode.
    verdict = multi_turn_checker(turns, row["ground_truth"], row, "base", f"model{number}")
    return verdict["valid"]


def main() -> None:
    for number, line in enumerate(sys.stdin):
        row = json.loads(line)
        try:
            verdict = episode(row, number) if "turns" in row else match(row)
        except Exception as error:  # noqa: BLE001 (their checker's failure is its verdict)
            verdict = f"{type(error).__name__}: {error}"
        print(json.dumps(verdict))


main()
