"""`--json` prints one line; results say how they were come by. Held for every benchmark."""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = sorted(p.stem for p in BENCHMARKS.glob("*.py") if p.stem[0] != "_" and p.stem != "all")
run = runpy.run_path(str(BENCHMARKS / "_result.py"))["run"]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qwq bench sums")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    made.add_argument("--quick", action="store_true")
    return made


def noisy(options: argparse.Namespace) -> dict[str, object]:
    print("a word on the way")
    os.write(1, b"from C\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return {"rounds": options.rounds, "versions": {"peer": "1.0"}}


def test_json_is_the_one_line_on_stdout_whoever_prints(capfd):
    run(parser(), ["--json"], noisy)

    out, err = capfd.readouterr()
    assert json.loads(out)["rounds"] == 3
    assert out.count("\n") == 1
    assert {"a word on the way", "from C", "from a child"} <= set(err.splitlines())


def test_without_it_the_table_is_printed_and_out_is_written_all_the_same(capfd, tmp_path):
    out = tmp_path / "sums.json"
    run(parser(), ["--out", str(out)], noisy, lambda found: f"{found['rounds']} rounds")

    assert capfd.readouterr().out == "3 rounds\n"
    assert json.loads(out.read_text())["rounds"] == 3


def test_a_result_says_what_was_run_where_and_with_which_versions(capfd):
    run(parser(), ["--json", "--quick", "--ranks", "2", "8", "--rounds=3"], noisy)

    found = json.loads(capfd.readouterr().out)
    assert found["command"] == "qwq bench sums --ranks 2 8 --quick"
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert found["versions"]["peer"] == "1.0"
    assert found["versions"]["python"] == platform.python_version()


def test_a_failure_leaves_stdout_empty_and_usable(capfd):
    def fail(options):
        print("begun")
        raise ValueError("no server")

    with pytest.raises(ValueError, match="no server"):
        run(parser(), ["--json"], fail)
    assert capfd.readouterr().out == ""
    print("after")
    assert capfd.readouterr().out == "after\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_leaves_stdout_to_the_one_rule(name):
    tree = ast.parse((BENCHMARKS / f"{name}.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    named = {call.func.id for call in calls}
    programs = {ast.literal_eval(k.value) for n in ast.walk(tree) if isinstance(n, ast.Call)
                for k in n.keywords if k.arg == "prog"}  # fmt: skip

    assert "run" in named
    assert not named & {"print", "deliver", "add_options"}
    assert programs == {f"qwq bench {name}"}
