"""qwq bench livebench_agreement --questions DIR --answers FILE [--json] [--out FILE]

Our LiveBench judges against the official ones: stored answers, rows `{"question_id", "answer",
"score"}` with the score that LiveBench's own judge gave each. Says for each task how many scores
are equal, and names each row that differs. By default the sample that the tests use.
"""

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from qwq_env.grading.livebench import LiveBenchGrader, read_questions

sys.path.insert(0, str(Path(__file__).parent))
from _result import run

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "published" / "livebench"
AT_ONCE = 64
SAME = 1e-9
Row = dict[str, Any]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="qwq bench livebench_agreement")
    parser.add_argument("--questions", type=Path, default=SAMPLE / "questions.jsonl")
    parser.add_argument("--answers", type=Path, default=SAMPLE / "answers.jsonl")
    return 0 if run(parser, argv, _measure, _table)["share_equal"] >= 0.995 else 1


def _measure(options: argparse.Namespace) -> Row:
    questions = read_questions(options.questions)
    lines = options.answers.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    scores = asyncio.run(_scores(questions, rows))
    tasks: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    differences = []
    for row, score in zip(rows, scores, strict=True):
        question = questions[row["question_id"]]
        equal = score.value is not None and abs(score.value - row["score"]) < SAME
        counts = tasks[f"{question['category']}/{question['task']}"]
        counts[0] += equal
        counts[1] += 1
        if not equal:
            ours = {"ours": score.value, "reason": score.reason, "detail": score.detail}
            differences.append(
                {"question_id": row["question_id"], "official": row["score"], **ours}
            )
    share = 1 - len(differences) / len(rows)
    return {"rows": len(rows), "share_equal": share, "tasks": tasks, "differences": differences}


async def _scores(questions: Any, rows: list[Row]) -> list[Any]:
    free = asyncio.Semaphore(AT_ONCE)

    async def score(row: Row) -> Any:
        async with free:
            return await grader.grade(row["question_id"], row["answer"])

    with LiveBenchGrader(questions) as grader:
        return await asyncio.gather(*map(score, rows))


def _table(found: Any) -> str:
    lines = [
        f"{task:<40} {equal:>4} of {rows:>4}" for task, (equal, rows) in found["tasks"].items()
    ]
    lines.append(f"{'equal':<40} {found['share_equal']:.2%} of {found['rows']}")
    return "\n".join([*lines, *map(json.dumps, found["differences"])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
