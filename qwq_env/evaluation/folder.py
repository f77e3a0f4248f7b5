"""An evaluation's folder: what was asked, every episode, and what they come to.

```
DIR/
  settings.json    what shapes the episodes; a folder holds those of one evaluation only
  episodes.jsonl   every episode as it ended, for --resume, `qwq grade` and whoever reads
  episodes.texts   what its rows share: tokens' texts, openings
  journal.jsonl    each turn and call as it was answered, with --journal, to go on in mid-episode
  summary.json     the numbers, once all episodes have ended
  report.html      the same to be looked at, with the episodes most worth reading
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.files.alone import LOCK, HeldFolder
from qwq_env.files.atomic import write_whole
from qwq_env.files.json_file import read_json_file


class EvaluationFolder:
    """The folder of one evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "settings.json"
        self.episodes = path / "episodes.jsonl"
        self.journal = path / "journal.jsonl"
        self.summary = path / "summary.json"
        self.report = path / "report.html"
        self._held: HeldFolder | None = None

    def check(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """See whether an evaluation of these settings may begin or go on here; writes nothing.

        One that has no episode yet has not begun: a wrong key or address is mended, and the same
        command given again. Raises `UsageError` for a folder that holds something and is not to be
        resumed, that holds no evaluation, or one of other settings, of which it names the first.
        """
        if not self.path.exists():
            return
        if self.path.is_dir() and not any(map(_is_kept, self.path.iterdir())):
            return
        if not self.settings.is_file():
            kind = "is not empty and holds no evaluation" if self.path.is_dir() else "is a file"
            raise UsageError(f"out: {self.path} {kind}; name another folder")
        if not self.summary.exists() and self._is_empty():
            return
        if not resume:
            raise UsageError(f"out: {self.path} exists; give --resume, or name another folder")
        before = read_json_file(self.settings)
        if before is None:
            raise UsageError(f"out: {self.settings} is damaged; name another folder")
        for name in dict.fromkeys([*settings, *before]):
            if before.get(name) != settings.get(name):
                raise UsageError(
                    f"{name}: {settings.get(name)!r}; {self.path} was begun with"
                    f" {before.get(name)!r}; expected the same, or another --out"
                )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, hold it until the end of this object, and write down what was asked.

        Raises `UsageError` while another process writes in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._held = HeldFolder(self.path, "out")
        write_whole(self.settings, json.dumps(settings, indent=1) + "\n")

    def _is_empty(self) -> bool:
        files = (self.episodes, self.journal)
        return not any(file.exists() and file.stat().st_size for file in files)


def _is_kept(file: Path) -> bool:
    """Say whether a file is more than what a kill left half-written."""
    return file.suffix != ".part" and file.name != LOCK
