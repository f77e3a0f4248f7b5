"""`qwq sandbox run` and `levels`, as a person or a script would use them."""

import io
import json
import sys

import pytest

from qwq_env.cli import main


@pytest.fixture
def program(tmp_path):
    def write(code: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(code)
        return str(path)

    return write


def test_a_file_is_run(program, capsys):
    code = program("import sys\nprint('hi', sys.argv[1:])\n6 * 7")

    assert main(["sandbox", "run", "--allow-unsafe", code, "one"]) == 0
    output = capsys.readouterr()
    assert output.out == "hi ['one']\n42\n"
    assert "[ok: exit code 0" in output.err


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "é\né\\ud800\n"), ("ascii", "\\xe9\n\\xe9\\ud800\n")]
)
def test_what_cannot_be_written_is_escaped(program, monkeypatch, encoding, shown):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    code = program(
        "import sys\n"
        "print('\\u00e9'); print('\\u00e9', file=sys.stderr)\n"
        "class Odd:\n    def __repr__(self): return '\\u00e9\\ud800'\n"
        "Odd()"
    )
    status = main(["sandbox", "run", "--allow-unsafe", code])
    sys.stderr.flush()
    written = {name: stream.buffer.getvalue().decode(encoding) for name, stream in streams.items()}

    assert status == 0
    assert written["stdout"] == shown
    assert written["stderr"].startswith(shown.split("\n")[0] + "\n[ok: ")


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def shown_on_terminals(monkeypatch, arguments, names=("stdout", "stderr")):
    """Run the command with terminals for these streams, pipes for the others; what both got."""
    streams = {}
    for name in ("stdout", "stderr"):
        kind = Terminal if name in names else io.TextIOWrapper
        streams[name] = kind(io.BytesIO(), "utf-8")
        monkeypatch.setattr(sys, name, streams[name])
    main(["sandbox", "run", "--allow-unsafe", *arguments])
    for stream in streams.values():
        stream.flush()
    return [stream.buffer.getvalue().decode() for stream in streams.values()]


TITLE = "\\x1b]0;title\\x07\\x9b31m\\u202eevil\\r"


@pytest.mark.parametrize(
    "code",
    [
        f"print('{TITLE}')",
        f"import sys; print('{TITLE}', file=sys.stderr)",
        f"raise ValueError('{TITLE}')",
        f"class Odd:\n    def __repr__(self): return '{TITLE}'\nOdd()",
        f"raise type('{TITLE}', (Exception,), {{}})",
    ],
)
def test_no_program_acts_on_a_terminal(program, monkeypatch, code):
    out, err = shown_on_terminals(monkeypatch, [program(code)])
    shown, _, closing = err.rpartition("\x1b[1m[")

    assert "\\x1b]0;title\\x07\\x9b31m\\u202eevil\\x0d" in out + shown
    assert all(character.isprintable() or character == "\n" for character in out + shown)
    assert closing.endswith("]\x1b[0m\n")


def test_the_closing_line_cannot_be_imitated(program, monkeypatch):
    code = "import sys\nsys.stderr.write('\\x1b[1m[ok: exit code 0]\\x1b[0m')\nsys.exit(3)"

    _, err = shown_on_terminals(monkeypatch, [program(code)])
    imitation, closing = err.splitlines()
    assert imitation == r"\x1b[1m[ok: exit code 0]\x1b[0m"
    assert closing.startswith("\x1b[1m[error: exit code 3")


def test_a_pipe_gets_the_programs_bytes(program, monkeypatch):
    code = program("print('\\x1b[31mred\\r', end='')")

    out, err = shown_on_terminals(monkeypatch, [code], names=("stderr",))
    assert out == "\x1b[31mred\r"
    assert err.startswith("\x1b[1m[ok")


def test_the_result_as_json(program, tmp_path, capsys):
    stdin = tmp_path / "input"
    stdin.write_text("20")
    code = program("raise SystemExit(int(input()) + 1)")

    options = ["--stdin", str(stdin), "--timeout", "5", "--memory", "64", "--json"]

    assert main(["sandbox", "run", "--allow-unsafe", code, *options]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["exit_code"]) == ("error", 21)


def test_a_timeout_is_told(program, capsys):
    code = program("while True: pass")

    assert main(["sandbox", "run", "--allow-unsafe", code, "--timeout", "0.2", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "timeout"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["/nowhere.py"], "FILE: /nowhere.py: No such file"),
        (["/"], "FILE: /: Is a directory"),
        (["{}", "--stdin", "/nowhere"], "--stdin: /nowhere: No such file"),
        (["{}", "--timeout", "-1"], "limits.cpu_seconds: -1.0"),
        (["{}", "--memory", "1"], "limits.memory_mb: 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(program, capsys, options, said):
    code = program("print(1)")

    assert main(["sandbox", "run", *(option.format(code) for option in options)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_binary_code_is_refused(tmp_path, capsys):
    path = tmp_path / "program.py"
    path.write_bytes(b"\xff\xfe\x00")

    assert main(["sandbox", "run", str(path)]) == 2
    assert "code: is not UTF-8" in capsys.readouterr().err


def test_empty_code_is_refused(program, capsys):
    assert main(["sandbox", "run", program("\n")]) == 2
    assert capsys.readouterr().err == "qwq: error: code: is empty, expected a program\n"


def test_levels_are_listed(capsys):
    code = main(["sandbox", "levels", "--json"])

    levels = json.loads(capsys.readouterr().out)
    assert code == (0 if levels["level"] else 1)
    assert [entry["level"] for entry in levels["tried"]][-1] == "D"


def test_levels_for_a_person(capsys):
    main(["sandbox", "levels"])

    output = capsys.readouterr().out
    assert "in force: " in output
    assert "seccomp: system calls from a list" in output
