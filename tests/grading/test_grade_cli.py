import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.grading.batch import Grader, grade_file, load_grader
from qwq_env.grading.score import Score

ROWS = [
    {"gold": "1/2", "answer": "0.5", "id": "é"},
    {"gold": "42", "answer": "so \\boxed{41}", "kind": "response"},
    {"gold": 3, "answer": ""},
    {"gold": "x+1", "answer": "1+x"},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_come_out_in_order_with_score_and_reason(tmp_path, capsys):
    source, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    code = main(["grade", "math", str(source), "--out", str(out)])

    assert code == 0
    added = [{"score": 1.0, "reason": "equal"}, {"score": 0.0, "reason": "different"}]
    added += [{"score": 0.0, "reason": "no_answer"}, {"score": 1.0, "reason": "equal"}]
    assert read(out) == [{**row, **more} for row, more in zip(ROWS, added, strict=True)]
    printed = capsys.readouterr().out
    assert "mean score 0.5000" in printed
    assert "no_answer" in printed


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ('{"answer": "1"}', "gold"),
        ('{"gold": "1"}', "answer"),
        ('{"gold": "1", "answer": [1]}', "answer"),
        ('{"gold": true, "answer": "1"}', "gold"),
        ('{"gold": "1", "answer": "1", "kind": "x"}', "kind"),
        ("[" * 100_000, "not JSON"),
        ("\xff", "not UTF-8"),
    ],
)
def test_strictly_a_malformed_row_stops_before_anything_is_written(
    tmp_path, capsys, line, complaint
):
    source, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    with source.open("ab") as lines:
        lines.write(line.encode("latin-1") + b"\n")
    code = main(["grade", "math", str(source), "--out", str(out), "--strict"])

    assert code == 2
    error = capsys.readouterr().err
    assert f"{source}:5: " in error and complaint in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_missing_file_and_an_existing_output_are_refused(tmp_path, capsys):
    source, out = write(tmp_path / "rows.jsonl", ROWS), write(tmp_path / "out.jsonl", [{"a": 1}])

    assert main(["grade", "math", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 2
    assert main(["grade", "math", str(source), "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert read(out) == [{"a": 1}]


@pytest.mark.parametrize("torn", [b"", b'{"gold": "4', b'{"gold"'])
def test_resume_keeps_what_is_whole_and_goes_on(tmp_path, torn):
    source, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    main(["grade", "math", str(source), "--out", str(out)])
    whole = out.read_bytes()
    out.write_bytes(b"\n".join(whole.split(b"\n")[:2]) + b"\n" + torn)
    code = main(["grade", "math", str(source), "--out", str(out), "--resume"])

    assert code == 0
    assert out.read_bytes() == whole


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_resume_goes_on_behind_rows_that_were_passed_over(tmp_path, kept):
    source, out = write(tmp_path / "rows.jsonl", [ROWS[0], {"gold": 5}]), tmp_path / "out.jsonl"
    with source.open("ab") as lines:
        lines.write(b"\xff no row\n" + json.dumps(ROWS[1]).encode() + b"\n")
    main(["grade", "math", str(source), "--out", str(out)])
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:kept]))

    assert main(["grade", "math", str(source), "--out", str(out), "--resume"]) == 0
    assert out.read_bytes() == whole
    assert [row["score"] for row in read(out)] == [1.0, None, None, 0.0]


def test_resume_refuses_the_output_of_another_file(tmp_path, capsys):
    source, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    write(out, [{"gold": "other", "answer": "1", "score": 1.0, "reason": "equal"}])
    before = out.read_bytes()

    assert main(["grade", "math", str(source), "--out", str(out), "--resume"]) == 2
    assert "not from a run over" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_scored_rows_and_stored_episodes_are_scored_again(tmp_path):
    rows = [
        {"gold": "1", "answer": "2", "score": 1.0, "reason": "old"},
        {"task_id": "a", "reference": "5", "answer": "<think>4</think>\\boxed{5}", "reward": 0.0},
        {"task": {"answer": "5"}, "completion": "\\boxed{6}"},
    ]
    source, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    main(["grade", "math", str(source), "--out", str(out)])

    assert [row["score"] for row in read(out)] == [0.0, 1.0, 0.0]
    assert read(out)[1]["reward"] == 0.0


def test_an_interrupted_run_can_be_continued(tmp_path):
    rows = [{"gold": f"x+{n}", "answer": f"{n}+x"} for n in range(20_000)]
    source, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    program = "import sys; from qwq_env.cli import main; sys.exit(main())"
    options = ["grade", "math", str(source), "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", program, *options])
    while not out.exists() or out.stat().st_size < 1_000:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    begun = len(out.read_bytes().splitlines())
    write(source, rows[: begun + 5])
    code = main(["grade", "math", str(source), "--out", str(out), "--resume"])

    assert code == 0
    assert 0 < begun < len(rows)
    assert [row["gold"] for row in read(out)] == [row["gold"] for row in rows[: begun + 5]]


async def test_a_row_refused_while_grading_leaves_nothing(tmp_path):
    async def grade(row):
        await asyncio.sleep(0.001)
        if row["n"] == 300:
            raise UsageError("n: 300 is too many")
        return Score.right()

    source = write(tmp_path / "rows.jsonl", [{"n": n} for n in range(400)])
    out = tmp_path / "out.jsonl"
    with pytest.raises(UsageError, match=r"rows\.jsonl:301: n: 300"):
        await grade_file(source, out, Grader(grade, lambda row: None))

    assert not out.exists() or out.read_bytes() == b""


async def test_undecided_rows_are_null_and_not_in_the_mean(tmp_path):
    async def grade(row):
        return Score.undecided("timeout") if row["n"] else Score.right()

    out = tmp_path / "out.jsonl"
    source = write(tmp_path / "rows.jsonl", [{"n": 0}, {"n": 1}])
    summary = await grade_file(source, out, Grader(grade, lambda row: None))

    assert [row["score"] for row in read(out)] == [1.0, None]
    assert (summary.mean, summary.undecided) == (1.0, 1)


def test_the_other_kinds_are_known_and_loaded_on_demand():
    with pytest.raises(UsageError, match="did you mean 'math'"):
        load_grader("maths")
    assert callable(load_grader("math").grade)
