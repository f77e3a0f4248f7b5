"""The `qwq` command as a whole: exit codes, and one line for whoever has to act."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qwq_env.cli import COMMANDS, _parser, main
from qwq_env.cli.check import expand

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

    error = capsys.readouterr().err
    assert error == (
        "qwq: error: the following arguments are required: recipe; see qwq train --help\n"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ([], "required: COMMAND; see qwq --help"),
        (["train", "x.yaml", "--sed", "1"], "unrecognized arguments: --sed; see qwq --help"),
        (["train", "x.yaml", "--seed", "a\nb"], r"invalid int value: 'a\nb'"),
        (["train", "x.yaml", "--se\x1b[2Jd\n"], r"--se\x1b[2Jd\x0a"),
        (["eval", "gsm8k"], "required: --out; see qwq eval --help"),
        (["recipe", "chek", "x.yaml"], "invalid choice: 'chek'"),
    ],
)
def test_a_command_line_that_is_none_is_one_line(capsys, line, told):
    with pytest.raises(SystemExit) as exit_:
        main(line)

    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert told in error and error.count("\n") == 1 and error.startswith("qwq: error: ")


EVIL = "x\x1b]0;title\x07\x1b[2J\x9b31m\r\nqwq: done\u202e"


def recipe_with(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return str(path)


def rows_of(tmp_path, row, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text(json.dumps(row) + "\n")
    return str(path)


CONVERSATION = {"name": EVIL, "messages": [{"role": "user", "content": "x"}], "tools": None,
                "add_generation_prompt": True, "rendered": EVIL}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        lambda path: [EVIL],
        lambda path: ["train", EVIL],
        lambda path: ["train", recipe_with(path, f"{json.dumps(EVIL)}: 1\n")],
        lambda path: ["train", recipe_with(path, f"name: {json.dumps('/' + EVIL)}\n")],
        lambda path: ["train", recipe_with(path, "seed: 0\n"), f"seed={EVIL}"],
        lambda path: ["train", recipe_with(path, "seed: 0\n"), "--tasks", f"{EVIL}.jsonl"],
        lambda path: ["bench", EVIL],
        lambda path: ["check", "dialect", EVIL, "x"],
        lambda path: ["check", "dialect", "qwq", EVIL],
        lambda path: ["check", "dialect", "qwq", rows_of(path, CONVERSATION, f"{EVIL}.jsonl")],
        lambda path: ["check", "template", EVIL],
        lambda path: ["check", "grader", EVIL],
        lambda path: ["check", "grader", f"{EVIL}:a/b-v0"],
        lambda path: ["grade", "math", rows_of(path, {"gold": EVIL}), "--out", str(path / "out")],
        lambda path: ["grade", "math", str(path / EVIL), "--out", str(path / "out")],
    ],
)
def test_nothing_foreign_acts_on_the_terminal(command, tmp_path, capsys):
    code = main(command(tmp_path))
    out, err = capsys.readouterr()

    assert code in (1, 2)
    assert [line for line in (out + err).splitlines() if not line.isprintable()] == []
    assert "qwq: done" not in (out + err).splitlines()
    assert out or len(err.splitlines()) == 1


def test_reasons_of_an_output_that_is_continued_are_only_seen(tmp_path, capsys):
    row = {"gold": "2", "answer": "2"}
    rows = rows_of(tmp_path, row)
    out = rows_of(tmp_path, {**row, "score": 1.0, "reason": EVIL}, "out.jsonl")
    code = main(["grade", "math", rows, "--out", out, "--resume"])
    table = capsys.readouterr().out

    assert code == 0
    assert r"\x1b]0;title\x07" in table
    assert all(line.isprintable() for line in table.splitlines())


def test_words_that_no_command_takes_are_only_seen(capsys):
    with pytest.raises(SystemExit):
        main(["train", "x", "--evil\x1b[2J\x9b"])

    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_every_command_shows_itself_at_work(command):
    """The examples in its help are lines that its own parser takes."""
    assert command.examples
    for line in command.examples:
        words = line.removeprefix('eval "$(').removesuffix(')"').partition(" | ")[0].split()
        assert words[:2] == ["qwq", command.name]
        given = expand(words[1:]) if command.name == "check" else words[1:]
        assert _parser(command.name).parse_args(given).command == command.name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "qwq" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("qwq che", {"check"}),
        ("qwq check gra", {"grader"}),
        ("qwq plan recipes/tiny.yaml --gp", {"--gpus"}),
    ],
)
def test_a_line_is_completed(tmp_path, line, expected):
    """As bash asks: the line in the environment, the answer on a descriptor of its own."""
    answer = tmp_path / "answer"
    asked = {
        **os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
    }  # fmt: skip
    program = "import sys; from qwq_env.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", program], env=asked, check=True)

    assert {word.strip() for word in answer.read_text().splitlines()} == expected


@pytest.mark.parametrize(
    ("line", "code", "printed"),
    [
        ("recipe show {} >&-", 0, ""),
        ("recipe show nowhere 2>&-", 2, ""),
        ("recipe show nowhere 2>/dev/full", 2, ""),
        ("recipe show {} >/dev/full", 1, "No space left"),
        ("recipe show {} | head -c 5", 0, "name:"),
        ("recipe show {} 'name=\u00fc' | head -n 1", 0, "name: \\xfc"),
    ],
)
def test_no_stream_that_is_closed_full_or_of_another_locale_is_a_traceback(line, code, printed):
    qwq = f"{sys.executable} -X utf8 -c 'import sys, qwq_env.cli; sys.exit(qwq_env.cli.main())'"
    words = f"set -o pipefail; {qwq} {line.format(RECIPE)}"
    done = subprocess.run(
        ["bash", "-c", words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip

    assert done.returncode == code
    assert printed in done.stdout and "Traceback" not in done.stdout
