"""qwq bench calls_agreement [--json] [--out FILE]

Our function-call match and multi-turn checks against BFCL's own checkers: every gold answer, and
some forty kinds of mutation of each. Makes an environment with `bfcl-eval` on first use, without
its dependencies, and reads the published rows from that wheel. Gold must be paid 1.0 and no
mutation anything; where the two checkers differ, the reason is named or the difference counts as
unexplained.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwq_env.grading.calls import check_episode, match_calls

sys.path.insert(0, str(Path(__file__).parent))
from _call_mutations import gold_calls, mutations
from _call_sources import source
from _official import ask, environment
from _result import run

BFCL = "bfcl-eval==2026.3.23"
CATEGORIES = (
    "simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple",
    "live_parallel", "live_parallel_multiple", "simple_java", "simple_javascript",
)  # fmt: skip
EPISODES = tuple(
    f"multi_turn_{name}" for name in ("base", "long_context", "miss_func", "miss_param")
)
Row = dict[str, Any]

EXPLAINED = {
    "boolean_for_number": "BFCL compares inside dicts and variables with ==: True passes for 1",
    "blank_for_optional": "BFCL strips punctuation before comparing with the mark for 'may be left "
    "out': '-' passes for any optional text",
    "empty_list_for_optional": "BFCL reads the same mark as an empty list: [] passes for any "
    "optional list",
    "gold_allows_nothing": "two published rows allow no value at all: BFCL lets nobody pass them, "
    "we take the empty list",
    "undone_at_the_end": "one row of each multi-turn file ends with a turn for which there are no "
    "gold calls: BFCL takes whatever is done in it, we want the state as it was",
    "elements_read": "BFCL keeps the quotes of the elements of a Java String[], takes numbers in a "
    "list of 'any' for text, and loses nested JavaScript: right source fails; we read the literals",
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="qwq bench calls_agreement")
    parser.add_argument("--seed", type=int, default=0)
    return 0 if not run(parser, argv, _measure, _table)["unexplained"] else 1


def _measure(options: argparse.Namespace) -> Row:
    python = environment("bfcl-2026.3.23", ["--no-deps", BFCL], ["mpmath==1.3.0"])
    root = _package(python)
    sys.path.append(str(root.parent))  # our adapter imports the services from there
    rows = [*_matches(root / "data", options.seed), *_episodes(root / "data", options.seed)]
    started = time.perf_counter()
    ours = [_ours(row) for row in rows]
    seconds = time.perf_counter() - started
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    theirs = [json.loads(line) for line in ask(python, "_official_bfcl.py", lines).splitlines()]
    return {
        "bfcl": BFCL,
        "rows": len(rows),
        "ours_per_s": round(len(rows) / seconds),
        **_compare(rows, ours, theirs),
        "explanations": EXPLAINED,
    }


def _package(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip()) / "bfcl_eval"


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _joined(data: Path, category: str) -> Iterator[Row]:
    answers = {
        row["id"]: row for row in _read(data / "possible_answer" / f"BFCL_v4_{category}.json")
    }
    for row in _read(data / f"BFCL_v4_{category}.json"):
        yield {**row, **answers[row["id"]], "category": category}


def _matches(data: Path, seed: int) -> Iterator[Row]:
    rng = random.Random(seed)
    for category in CATEGORIES:
        language = (
            category.removeprefix("simple_") if category.startswith("simple_java") else "python"
        )
        for row in _joined(data, category):
            row["language"] = language
            gold = gold_calls(row["ground_truth"], row["function"])
            yield {**row, "kind": "gold", "calls": _as_source(gold, row)}
            if language == "python":
                for kind, calls in mutations(row["ground_truth"], row["function"], rng):
                    yield {**row, "kind": kind, "calls": calls}


def _as_source(calls: list[Row], row: Row) -> list[Row]:
    if row["language"] == "python":
        return calls
    types = {doc["name"]: doc["parameters"]["properties"] for doc in row["function"]}
    return [
        {
            name: {
                argument: source(
                    value,
                    types[name][argument]["type"],
                    types[name][argument].get("items", {}).get("type"),
                    row["language"],
                )
                for argument, value in arguments.items()
            }
        }
        for call in calls
        for name, arguments in call.items()
    ]


def _episodes(data: Path, seed: int) -> Iterator[Row]:
    rng = random.Random(seed)
    for row in (row for category in EPISODES for row in _joined(data, category)):
        gold = row["ground_truth"]
        yield {**row, "kind": "gold", "turns": gold}
        for kind, change in _EPISODE_MUTATIONS.items():
            turns = [list(turn) for turn in gold]
            place = rng.choice([i for i, turn in enumerate(turns) if turn])
            turns[place] = change(turns[place], rng)
            yield {**row, "kind": f"episode_{kind}", "turns": turns}
        for place in range(1, len(gold)):
            if not gold[place - 1] and gold[place]:
                turns = [*gold[: place - 1], gold[place], ["pwd()"], *gold[place + 1 :]]
                yield {**row, "kind": "episode_done_early", "turns": turns}
                turns = [*gold[: place - 1], gold[place], *gold[place:]]
                yield {**row, "kind": "episode_done_twice", "turns": turns}
        if not gold[-1]:
            turns = [*gold[:-1], [call for turn in gold for call in turn]]
            yield {**row, "kind": "episode_done_at_the_end", "turns": turns}


def _change_argument(turn: list[str], rng: random.Random) -> list[str]:
    place = rng.randrange(len(turn))
    changed = re.sub(r"'([^']*)'", r"'\1x'", turn[place], count=1)
    if changed == turn[place]:
        changed = re.sub(r"=(-?\d)", r"=1\1", turn[place], count=1)
    return [*turn[:place], changed, *turn[place + 1 :]]


_EPISODE_MUTATIONS = {
    "no_call": lambda turn, rng: [],
    "dropped_call": lambda turn, rng: turn[:-1],
    "duplicated_call": lambda turn, rng: [*turn, turn[-1]],
    "reversed_calls": lambda turn, rng: turn[::-1],
    "changed_argument": _change_argument,
    "unknown_function": lambda turn, rng: ["not_a_function()" for _ in turn],
    "private_method": lambda turn, rng: ["_load_scenario(scenario={})" for _ in turn],
    "reading_beside": lambda turn, rng: ["pwd()", *turn],
}


def _ours(row: Row) -> bool | None:
    if "turns" in row:
        score = check_episode(row, row["ground_truth"], row["turns"])
    else:
        score = match_calls(row["calls"], row["ground_truth"], row["function"], row["language"])
    return None if score.value is None else score.value == 1.0


def _why(row: Row, mine: bool | None, official: Any) -> str | None:
    """The name of the explanation for a difference, or None."""
    kind = row["kind"]
    if official is True and not mine:
        return {
            "bool_for_int": "boolean_for_number",
            "dict_bool_for_int": "boolean_for_number",
            "int_for_bool": "boolean_for_number",
            "list_item_type": "boolean_for_number",
            "string_blank": "blank_for_optional",
            "empty_list": "empty_list_for_optional",
            "list_item_dropped": "empty_list_for_optional",
            "episode_done_at_the_end": "undone_at_the_end",
        }.get(kind)
    if kind == "gold" and row["language"] != "python":
        return "elements_read"
    if kind == "gold" and any(
        not allowed
        for answer in row["ground_truth"]
        for values in answer.values()
        for allowed in values.values()
    ):
        return "gold_allows_nothing"
    return None


def _compare(rows: list[Row], ours: list[bool | None], theirs: list[Any]) -> Row:
    gold, paid, made, official_paid = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    explained = Counter[str]()
    golds, rejected, unexplained = Counter[str](), [], []
    for row, mine, official in zip(rows, ours, theirs, strict=True):
        kind = row["kind"]
        if kind == "gold":
            golds[row["category"]] += 1
            gold[row["category"]] += mine is True
            if not mine:
                rejected.append(row["id"])
        else:
            made[kind] += 1
            paid[kind] += mine is not False
            official_paid[kind] += official is True
        if mine is official:
            continue
        why = _why(row, mine, official)
        if why:
            explained[why] += 1
        else:
            given = row.get("turns") or row.get("calls")
            unexplained.append(
                {"id": row["id"], "kind": kind, "ours": mine, "bfcl": official, "calls": given}
            )
    return {
        "gold": {name: f"{gold[name]}/{golds[name]}" for name in golds},
        "gold_rejected": rejected,
        "mutations": {
            kind: {"made": made[kind], "paid": paid[kind], "paid_by_bfcl": official_paid[kind]}
            for kind in sorted(made)
        },
        "explained": dict(explained),
        "unexplained": len(unexplained),
        "examples": unexplained[:10],
    }


def _table(result: Row) -> str:
    lines = [f"{result['rows']} rows, {result['ours_per_s']} a second"]
    lines += [f"gold {name:30} {count}" for name, count in result["gold"].items()]
    lines.append(f"gold rejected: {', '.join(result['gold_rejected']) or 'none'}")
    lines.append(f"{'mutation':28} {'made':>6} {'paid':>6} {'by BFCL':>8}")
    for kind, counts in result["mutations"].items():
        lines.append(f"{kind:28} {counts['made']:6} {counts['paid']:6} {counts['paid_by_bfcl']:8}")
    lines.append(f"explained: {result['explained']} unexplained: {result['unexplained']}")
    lines += [f"  differs: {json.dumps(example)[:400]}" for example in result["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
