"""`LocalIndex`: BM25 over a corpus of passages on this machine, with tantivy."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError
from qwq_env.tools.search import Passage, SearchBackend

_WORDS: Final = re.compile(r"[^\W_]+")
_MOST_WORDS: Final = 64
_HEAP_BYTES: Final = 128 << 20
_SPARE: Final = 16
"""Hits asked for beyond those wanted, so that equal scores can be put in the corpus's order."""


class LocalIndex(SearchBackend):
    """A JSONL corpus, indexed at the first search (about 3 s for 100,000 passages).

    A row holds `contents` (Search-R1: the title on the first line, in quotes, and the text
    below), or `text` and optionally `title`; `id` names it. With `folder` the index is kept
    there and opened the next time, unless the corpus has changed. Raises `UsageError` for a
    row that cannot be read, with file and line, and if tantivy is not installed.
    """

    def __init__(self, corpus: str | Path, *, folder: str | Path | None = None) -> None:
        self.corpus = Path(corpus)
        self.folder = None if folder is None else Path(folder)
        if not self.corpus.is_file():
            raise UsageError(f"search index, corpus: {str(corpus)!r} is not a file")
        self._opening = threading.Lock()
        self._index: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"corpus": self.corpus, "folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["corpus"], folder=state["folder"])  # type: ignore[misc]

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        return await asyncio.to_thread(self.search_now, query, count)

    def search_now(self, query: str, count: int) -> list[Passage]:
        """Search, blocking; see `SearchBackend.search`."""
        index = self._opened()
        # Bare lower-case words leave nothing of the query language: no fields, no operators.
        words = " ".join(_WORDS.findall(query.lower())[:_MOST_WORDS])
        if not words:
            return []
        parsed = index.parse_query(words, ["title", "text"])
        searcher = index.searcher()
        hits = [
            (-score, searcher.doc(address))
            for score, address in searcher.search(parsed, count + _SPARE).hits
        ]
        hits.sort(key=lambda hit: (hit[0], hit[1]["number"][0]))
        return [
            Passage(doc["text"][0], doc["title"][0], doc["source"][0]) for _, doc in hits[:count]
        ]

    def build(self) -> None:
        """Index the corpus, or open the kept index, now rather than at the first search."""
        self._opened()

    def _opened(self) -> Any:
        with self._opening:
            if self._index is None:
                self._index = self._open()
            return self._index

    def _open(self) -> Any:
        try:
            import tantivy  # noqa: PLC0415 - an extra
        except ImportError:
            raise UsageError(
                "search index: tantivy is not installed; pip install qwq-env[search]"
            ) from None
        if self.folder is None:
            return self._filled(tantivy, None)
        kept = self.folder / self._stamp()
        if not kept.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            # Built aside and renamed: another process sees all of the index or none of it.
            with tempfile.TemporaryDirectory(dir=self.folder, prefix="building-") as building:
                new = Path(building) / "index"
                new.mkdir()
                self._filled(tantivy, str(new))
                try:
                    new.rename(kept)
                except OSError:
                    if not kept.is_dir():
                        raise
        return tantivy.Index.open(str(kept))

    def _stamp(self) -> str:
        status = self.corpus.stat()
        return f"{self.corpus.stem}-{status.st_size}-{status.st_mtime_ns}"

    def _filled(self, tantivy: Any, folder: str | None) -> Any:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("title", stored=True, tokenizer_name="en_stem")
        builder.add_text_field("text", stored=True, tokenizer_name="en_stem")
        builder.add_text_field("source", stored=True, tokenizer_name="raw")
        builder.add_unsigned_field("number", stored=True)
        index = tantivy.Index(builder.build(), path=folder)
        # One thread: with several, the order of equal scores would change from build to build.
        writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        for number, passage in enumerate(read_corpus(self.corpus)):
            writer.add_document(
                tantivy.Document(
                    title=passage.title, text=passage.text, source=passage.source, number=number
                )
            )
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return index


def read_corpus(path: Path) -> Iterator[Passage]:
    """Yield the passages of a JSONL file; raises `UsageError` with file and line."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _passage(line, f"{path}:{number}")


def _passage(line: str, where: str) -> Passage:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise UsageError(f"{where}: {type(row).__name__}; expected a JSON object")
    source = str(row.get("id", ""))
    if isinstance(row.get("contents"), str):
        return split_contents(row["contents"], source)
    if isinstance(row.get("text"), str):
        return Passage(row["text"], str(row.get("title", "")), source)
    raise UsageError(f"{where}: no text; expected 'contents', or 'text' and 'title'")


def split_contents(contents: str, source: str = "") -> Passage:
    """Return a passage of Search-R1's form: the title on the first line, the text below."""
    title, newline, text = contents.partition("\n")
    if not newline:
        return Passage(contents, "", source)
    return Passage(text, title.strip().strip('"'), source)
