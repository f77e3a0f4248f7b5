"""Standard streams on which nothing that others wrote can act on the terminal.

Warnings, tracebacks, log lines and messages of other libraries end on the same screen as ours, and
may hold what a server, a file or a model wrote. While `printable_streams` is entered, all of it is
made printable where it leaves the process, so that no caller has to think of it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from qwq_env.text.characters import printable


class PrintableStream:
    """A text stream in front of `stream`; what that cannot encode is written as an escape too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Where Rich writes instead: it draws with the very characters that are escaped here, and
        # what it is given is made printable before.
        self.rich_proxied_file = drawing_stream(stream)

    def write(self, text: str) -> int:
        """Write `text` such that every character of it is seen."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        self._stream.write(shown)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def drawing_stream(stream: TextIO) -> TextIO:
    """Return the stream behind `stream`, for whoever draws a bar; no foreign text goes there."""
    # Rich's own stand-in has one of ours behind it, where there are two of ours.
    while (behind := getattr(stream, "rich_proxied_file", stream)) is not stream:
        stream = behind
    return stream


def usable_streams() -> None:
    """See to it that nothing which is printed fails for want of a stream or of a character.

    A process may be started without standard output (by a daemon, by `>&-`), or in a locale that
    has no umlauts; what cannot be encoded is written as an escape.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # It also takes the place of the descriptor, into which libraries may write.
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def printable_streams() -> Iterator[None]:
    """Make what is written to standard error printable, and to standard output on a terminal.

    Standard output that goes to a file or another program is data, and stays as it is. An exception
    that nobody catches leaves the streams so: its traceback is still to be printed.
    """
    before = sys.stdout, sys.stderr
    if sys.stdout.isatty():
        sys.stdout = PrintableStream(sys.stdout)
    sys.stderr = PrintableStream(sys.stderr)
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        sys.stdout, sys.stderr = before
        raise
    else:
        sys.stdout, sys.stderr = before
