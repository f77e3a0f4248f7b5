"""A fault: one small change that makes the code wrong, and the tests that should see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Fault:
    """One entry of a list (`*.yaml` in this folder).

    `was` stands exactly once in `file` and gives way to `becomes`. A text of several lines is
    written from the margin: its later lines are moved in as far as the line that it begins in.
    """

    id: str
    breaks: str
    file: str
    was: str
    becomes: str
    tests: list[str]

    def applied(self, text: str) -> str:
        """`text` with the fault in it; ValueError where `was` doesn't stand in it just once."""
        places = [
            (line, moved_in)
            for line in text.splitlines()
            if (moved_in := _moved_in(self.was, line)) and moved_in in text
        ]
        found = text.count(places[0][1]) if places else 0
        if found != 1:
            raise ValueError(f"{self.id}: found {found} times in {self.file}: {self.was!r}")
        line, moved_in = places[0]
        return text.replace(moved_in, _moved_in(self.becomes, line, self.was))


def _moved_in(text: str, line: str, begins_as: str = "") -> str:
    """`text` as it would stand from `line` on; empty where it, or `begins_as`, can't begin."""
    if (begins_as or text).split("\n")[0] not in line:
        return ""
    indentation = line[: len(line) - len(line.lstrip())]
    return text.replace("\n", "\n" + indentation)


def faults() -> list[Fault]:
    """All that are listed, list by list; the list's name stands before the id."""
    return [
        Fault(**{**entry, "id": f"{path.stem}/{entry['id']}"})
        for path in sorted(FOLDER.glob("*.yaml"))
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
