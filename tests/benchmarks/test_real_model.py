"""What the benchmark of the real model makes of episodes; the model itself is not run here."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "real_model.py"))


def played(*right):
    """Episodes that were right or not; None is one that was lost."""
    return [
        (
            SimpleNamespace(
                is_right=bool(each), counts={"ok": 1}, outcome=SimpleNamespace(failed=each is None)
            ),
            "",
        )
        for each in right
    ]


def test_a_gain_is_counted_task_by_task():
    rows = BENCH["compared"]({"cold start": played(0, 0, 1, 0), "GRPO": played(1, 0, 1, 1)})

    assert rows["GRPO"]["accuracy"] == 0.75
    assert rows["GRPO"]["standard_error"] == pytest.approx((0.75 * 0.25 / 4) ** 0.5, abs=1e-4)
    assert rows["gain"]["accuracy"] == 0.5
    assert rows["gain"]["standard_error"] == pytest.approx((1 / 12) ** 0.5, abs=1e-4)
    assert rows["gain"]["in_standard_errors"] == pytest.approx(0.5 * 12**0.5, abs=0.01)


def test_what_was_lost_is_in_no_rate():
    rows = BENCH["compared"]({"cold start": played(0, None, 1, 0), "GRPO": played(1, 0, None, 1)})

    assert rows["GRPO"]["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert (rows["GRPO"]["tasks"], rows["GRPO"]["lost"]) == (3, 1)
    assert rows["gain"]["accuracy"] == 1.0


def test_a_run_that_was_cut_is_measured_by_its_last_checkpoint(tmp_path):
    for step in (2, 10):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    (tmp_path / "checkpoints" / "checkpoint-12").mkdir()
    found = BENCH["policies_of"](tmp_path, "base")

    assert found["GRPO"].name == "checkpoint-10"
    (tmp_path / "policy").mkdir()
    assert BENCH["policies_of"](tmp_path, "base")["GRPO"].name == "policy"


def test_sets_without_a_file_are_named_and_problems_are_short(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    rows = [{"question": f"{n}?", "answer": "<<1+1=2>>" * n + "\n#### 2"} for n in range(5)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "gsm8k" / "test.jsonl").write_text("\n".join(lines))
    sets, missing = BENCH["task_sets"](tmp_path, 8)

    assert missing == ["mawps", "svamp", "asdiv"]
    [short] = [tasks for title, tasks in sets.items() if "gsm8k" in title]
    assert sorted(task.prompt[0] for task in short) == ["1", "2"]
    assert not {task.id for task in sets["seen wordings"]} & {t.id for t in sets["unseen wordings"]}
