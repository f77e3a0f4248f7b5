"""`LocalIndex`: BM25 over a corpus of passages on this machine, with tantivy.

A passage is found by its words, in whatever case and with or without accents (`zurich`, `Zürich`,
`Zu` + `¨` + `rich`; `strasse`, `Straße`), English ones by their stems. Scripts that are written
without blanks between words (Chinese, Japanese, Thai, ...), and Korean, whose words carry their
particles, are found by their pairs of characters.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief
from qwq_env.tools.search.tool import Passage, SearchBackend

# India's vowel signs are marks to Python, and parts of words.
_WORDS: Final = re.compile("(?:[^\\W_]|[\u0900-\u0963\u0966-\u0dff])+")
_ANALYZER: Final = "folded"
_SCHEME: Final = 2
"""How passages are indexed; kept indices of another scheme are not opened."""
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_MARKS: Final = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]+")
_TONES: Final = re.compile("[\u0e47-\u0e4e\u0ec8-\u0ecd]+")
MOST_WORDS: Final = 64
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
        words = " ".join(words_of(query)[:MOST_WORDS])
        if not words:
            return []
        parsed = index.parse_query(words, ["title_words", "words"])
        searcher = index.searcher()
        hits = [
            (-score, searcher.doc(address))
            for score, address in searcher.search(parsed, count + _SPARE).hits
        ]
        hits.sort(key=lambda hit: (hit[0], hit[1]["number"][0]))
        return [
            Passage(*(bytes(doc[field][0]).decode() for field in Passage._fields))
            for _, doc in hits[:count]
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
        return _with_analyzer(tantivy, tantivy.Index.open(str(kept)))

    def _stamp(self) -> str:
        status = self.corpus.stat()
        return f"{self.corpus.stem}-{status.st_size}-{status.st_mtime_ns}-{_SCHEME}"

    def _filled(self, tantivy: Any, folder: str | None) -> Any:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("title_words", tokenizer_name=_ANALYZER)
        builder.add_text_field("words", tokenizer_name=_ANALYZER)
        # What is shown, and not searched.
        for field in Passage._fields:
            builder.add_bytes_field(field, stored=True)
        builder.add_unsigned_field("number", stored=True)
        index = _with_analyzer(tantivy, tantivy.Index(builder.build(), path=folder))
        # One thread: with several, the order of equal scores would change from build to build.
        writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        for number, passage in enumerate(read_corpus(self.corpus)):
            shown = {name: text.encode() for name, text in passage._asdict().items()}
            writer.add_document(
                tantivy.Document(
                    title_words=_searchable(passage.title),
                    words=_searchable(passage.text),
                    number=number,
                    **shown,
                )
            )
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return index


def _with_analyzer(tantivy: Any, index: Any) -> Any:
    """Return the index with the analyzer of its fields, which is not kept with it."""
    filters = tantivy.Filter
    analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (
        filters.remove_long(40),
        filters.lowercase(),
        filters.ascii_fold(),
        filters.stemmer("english"),
    ):
        analyzer = analyzer.filter(step)
    index.register_tokenizer(_ANALYZER, analyzer.build())
    return index


def _searchable(text: str) -> str:
    """Return a passage's text as it is indexed: without marks, with characters and pairs of them
    for words where a script has no blanks."""
    if text.isascii():
        return text
    return _UNSPACED.sub(lambda run: f" {' '.join([*run[0], *_pairs(run[0])])} ", _folded(text))


def indexed_words(text: str) -> list[str]:
    """Return the words by which a passage is found, with pairs of characters as `words_of` asks."""
    return words_of(_searchable(text))


def words_of(query: str) -> list[str]:
    """Return the words, or pairs of characters, that a query asks for."""
    if query.isascii():
        return _WORDS.findall(query.lower())
    folded = _folded(query)
    words: list[str] = []
    position = 0
    for run in _UNSPACED.finditer(folded):
        words += _WORDS.findall(folded[position : run.start()])
        words += _pairs(run[0]) or [run[0]]
        position = run.end()
    return words + _WORDS.findall(folded[position:])


def _folded(text: str) -> str:
    """Return the text in lower case and without the marks over and under its letters.

    Within unspaced scripts a mark makes another letter, but for tones.
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode()).casefold()
    parts: list[str] = []
    position = 0
    for run in _UNSPACED.finditer(text):
        parts += [_without_marks(text[position : run.start()]), _TONES.sub("", run[0])]
        position = run.end()
    return "".join([*parts, _without_marks(text[position:])])


def _without_marks(text: str) -> str:
    return _MARKS.sub("", unicodedata.normalize("NFD", text))


def _pairs(run: str) -> list[str]:
    return [run[start : start + 2] for start in range(len(run) - 1)]


def read_corpus(path: Path) -> Iterator[Passage]:
    """Yield the passages of a JSONL file; raises `UsageError` with file and line."""
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _passage(line, f"{path}:{number}")
    except UnicodeDecodeError as error:
        # The text is decoded in stretches, which may be some lines ahead.
        raise UsageError(f"{path}: not UTF-8, behind line {number}: {error.reason}") from None


def _passage(line: str, where: str) -> Passage:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise UsageError(f"{where}: {type(row).__name__}; expected a JSON object")
    source = _shown(row.get("id", row.get("_id")))
    if isinstance(row.get("contents"), str):
        return split_contents(row["contents"], source)
    if isinstance(row.get("text"), str):
        return Passage(row["text"], _shown(row.get("title")), source)
    found = ", ".join(map(repr, row)) or "none"
    nearest = "'contents', Search-R1's form" if "title" not in row else "'text' beside its 'title'"
    raise UsageError(
        f"{where}: columns: {found:.200}; expected 'contents', or 'text' and 'title'; nearest form:"
        f" {nearest}, which has to be a text"
    )


def check_corpus(path: Path) -> None:
    """Raise `UsageError` for a file that is no corpus, by what its first passage shows."""
    if not path.is_file():
        raise UsageError(f"corpus: {brief(str(path))} is not a file; expected JSONL of passages")
    if next(read_corpus(path), None) is None:
        raise UsageError(f"corpus: {path} holds no passage; expected JSONL of passages")


def _shown(value: Any) -> str:
    """Return a title or an id as text; null is none."""
    return "" if value is None else str(value)


def split_contents(contents: str, source: str = "") -> Passage:
    """Return a passage of Search-R1's form: the title on the first line, the text below."""
    title, newline, text = contents.partition("\n")
    if not newline:
        return Passage(contents, "", source)
    return Passage(text, title.strip().strip('"'), source)
