"""The `qwq` command as a whole: exit codes, and one line for whoever has to act."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwq_env.cli import COMMANDS, main

RECIPE = Path(__file__).parents[1] / "recipes" / "tiny.yaml"


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])

    assert exit_.value.code == 0
    assert f"usage: qwq {command}" in capsys.readouterr().out


def test_a_command_that_is_none_is_named_with_the_nearest(capsys):
    code = main(["chek", "dialect"])

    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("qwq: error: command: 'chek' is not known (did you mean 'check'?)")


def test_output_that_cannot_be_written_is_one_line(tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"gold": "2", "answer": "2"}) + "\n")
    code = main(["grade", "math", str(rows), "--out", str(tmp_path / "missing" / "out.jsonl")])

    error = capsys.readouterr().err
    assert code in (1, 2)
    assert len(error.strip().splitlines()) == 1
    assert "missing" in error


def test_an_interrupted_run_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("qwq_env.training.run.train", interrupted)
    code = main(["train", str(RECIPE), "--runs", str(tmp_path)])

    assert code == 130
    assert "--resume" in capsys.readouterr().err


def test_what_is_missing_is_named_and_nothing_else(capsys):
    with pytest.raises(SystemExit):
        main(["train"])

    assert "required: recipe\n" in capsys.readouterr().err
