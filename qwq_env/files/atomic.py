"""Files that are either the old one or the new one, whenever somebody looks or everything stops."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file such that a reader, or a crash, sees either the old one or the new."""
    part = part_of(path)
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def part_of(path: Path) -> Path:
    """Return where the new file lies until it is whole."""
    return path.with_name(path.name + ".part")
