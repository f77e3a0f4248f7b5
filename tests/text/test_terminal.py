"""What reaches a terminal: nothing that a file, a server or a model wrote acts on it."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from qwq_env.cli import main
from qwq_env.outcome import Outcome
from qwq_env.text.terminal import printable_streams
from qwq_env.training.progress import Phase, Reporter
from qwq_env.training.report import print_episodes
from qwq_env.trajectory import Span

from ..training.test_rollouts import ended

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\rfake\u202e"


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and can show `encoding` only."""

    encoding = "ascii"

    def isatty(self) -> bool:
        return True


def acting(text: str) -> set[str]:
    return {c for c in text if not c.isprintable() and c != "\n"}


def test_whatever_is_printed_is_only_seen(monkeypatch):
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with printable_streams():
        print(EVIL, "é")
        print(EVIL, "é", file=sys.stderr)
        sys.stderr.writelines([EVIL, EVIL])
        logging.Logger("stray").warning("%s", EVIL)

    assert (sys.stdout, sys.stderr) == (out, err)
    assert acting(out.getvalue()) == acting(err.getvalue()) == set()
    assert err.getvalue().count(r"\x1b]0;title\x07") == 4
    assert r"\xe9" in out.getvalue()


def test_a_bar_is_drawn_on_the_stream_itself(monkeypatch, tmp_path):
    rows, err = tmp_path / "rows.jsonl", Terminal()
    rows.write_text('{"gold": "2", "answer": "2"}\n')
    monkeypatch.setattr(sys, "stderr", err)

    assert main(["grade", "math", str(rows), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert err.getvalue().startswith("\r[####")
    assert err.getvalue().endswith("\r\x1b[K")


def test_standard_output_that_is_no_terminal_is_data(capsys):
    with printable_streams():
        print(EVIL)

    assert capsys.readouterr().out == f"{EVIL}\n"


def test_a_traceback_is_printed_to_the_same_streams(monkeypatch):
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(RuntimeError), printable_streams():
        raise RuntimeError(EVIL)
    sys.excepthook(RuntimeError, RuntimeError(EVIL), None)

    assert "RuntimeError" in err.getvalue()
    assert acting(err.getvalue()) == set()


def test_what_is_printed_below_a_bar_is_no_colour_nor_link():
    screen = Terminal()
    console = Console(file=screen, force_terminal=True, color_system=None, width=200)
    link = "\x1b]8;;http://evil\x1b\\[link=http://evil]here"
    with Phase(console, "GRPO", 2, "steps", enabled=True, on_advance=lambda: None) as phase:
        before = sys.stderr
        print(link, file=sys.stderr)
        phase.advance()
    drawn = screen.getvalue()

    assert sys.stderr is not before
    assert r"\x1b]8;;http://evil\x1b\[link=http://evil]here" in drawn
    assert "\x1b]8" not in drawn


def test_rich_draws_on_the_stream_itself(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with printable_streams():
        Console(stderr=True, force_terminal=True, width=80).print("[bold]sure[/bold]")

    assert screen.getvalue() == "\x1b[1msure\x1b[0m\n"


def test_a_bar_within_a_command_is_drawn_and_what_is_printed_meanwhile_is_not(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with printable_streams():
        console = Console(stderr=True, force_terminal=True, width=100)
        with Phase(console, "GRPO", 2, "steps", enabled=True, on_advance=lambda: None) as phase:
            logging.Logger("stray").warning("%s", EVIL)
            phase.advance(2)
    drawn = screen.getvalue()

    assert "\x1b[2KGRPO" in drawn
    assert r"\x0d\x1b" not in drawn
    assert r"\x1b]0;title\x07\x1b[2J" in drawn
    assert "\x1b]" not in drawn


def test_names_and_texts_of_a_report_are_no_markup(codec):
    screen = Terminal()
    console = Console(file=screen, force_terminal=True, width=300)
    name = f"[link=http://evil]{EVIL}[/link][blink]"
    ids = codec.encode(f"user\n{name}")
    spans = [Span(0, len(ids), "task"), Span(0, len(ids), "tool")]
    episode = ended(Outcome.answered(), ids=ids, prompt_length=len(ids), spans=spans)
    print_episodes(console, [replace(episode, task_id=name, outcome=Outcome("", name))], codec, 1)
    drawn = screen.getvalue()

    assert drawn.count("[link=http://evil]") == 4
    assert "\x1b]" not in drawn and "\x1b[2J" not in drawn and "\r" not in drawn
    assert "\u202e" not in drawn


def test_a_line_of_a_reporter_is_no_markup(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    Reporter().say(f"written to [bold]{EVIL}[/bold]/")

    assert screen.getvalue().startswith(r"written to [bold]\x1b]0;title")
    assert acting(screen.getvalue()) == set()
