"""Write the page: the built template with a run's data put in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from qwq_env.files.atomic import part_of
from qwq_env.viewer.blocks import Vocabulary, chunks_of, pack, pack_chunk, to_json
from qwq_env.viewer.episodes import Reading
from qwq_env.viewer.report import report_of
from qwq_env.viewer.source import Source
from qwq_env.viewer.table import table_of

FORMAT: Final = 1
"""That of page/src/data.ts."""
_TEMPLATE: Final = Path(__file__).with_name("page.html")
_PLACE: Final = "<!--data-->"


class Written(NamedTuple):
    """A page: where it lies, its episodes, its bytes."""

    path: Path
    episodes: int
    size: int


def write_page(path: Path, source: Source, reading: Reading) -> Written:
    """Write the page of a reading to `path`, which holds the old one until the new is whole."""
    before, after = _TEMPLATE.read_text(encoding="utf-8").split(_PLACE)
    part = part_of(path)
    with part.open("w", encoding="utf-8") as page:
        page.write(before)
        for block in _blocks(source, reading):
            page.write(block)
        page.write(after)
    part.replace(path)
    return Written(path, len(reading.episodes), path.stat().st_size)


def _blocks(source: Source, reading: Reading) -> Iterator[str]:
    episodes = reading.episodes
    chunks = chunks_of(episodes)
    manifest = {
        "format": FORMAT,
        "title": source.title,
        "source": ", ".join(str(run.path) for run in source.runs[:8]),
        "kind": source.kind,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "chunks": [start for start, _ in chunks],
        "notes": reading.notes,
        "facts": source.facts,
    }
    # No `<`: whatever a file is called, it ends no script.
    plain = to_json(manifest).decode().replace("<", "\\u003c")
    yield f'<script type="application/json" id="manifest">{plain}</script>\n'
    vocabulary = Vocabulary(episodes, reading.texts)
    yield _block("table", to_json(table_of(episodes)))
    yield _block("vocabulary", to_json(vocabulary.to_json()))
    yield _block("report", to_json(report_of(episodes, source.runs)))
    for number, (start, end) in enumerate(chunks):
        yield _block(f"chunk-{number}", pack_chunk(episodes[start:end], vocabulary))


def _block(name: str, data: bytes) -> str:
    return f'<script type="text/plain" id="{name}">{pack(data)}</script>\n'


def default_path(paths: Sequence[Path]) -> Path:
    """Return where the page of `paths` goes: into the run's folder, or beside the first file."""
    first = paths[0]
    return first / "view.html" if first.is_dir() else first.with_suffix(".html")
