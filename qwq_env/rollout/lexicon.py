"""What the rows of a file of episodes share: the text of each token, and openings that come again.

Beside `episodes.jsonl` stands `episodes.texts`, one JSON object a line, only ever added to:

```
{"tokens": {"1782": " the", "147": [226, 136]}}      a token's text; its bytes where it is no text
{"text": ["9f86d081884c", "# Tools\\n\\nYou may ..."]}   a long stretch of an opening, by its digest
{"text": [40961, "<|im_end|>\\n<|im_start|>user\\n"]}   the dialect's marks, by a short digest
```

So a row shows its tokens one by one without a tokenizer, and neither the tools' description nor the
marks between all that is said are written again with each episode. Only tokens that occurred are in
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from qwq_env.errors import UsageError
from qwq_env.files.jsonl import read_object

_SHARED_FROM: Final = 120
"""Characters of a stretch that is worth a line of its own."""
_SHARED_MARKS: Final = range(8, 200)
"""Characters of markup that is."""
_MOST_MARKS: Final = 256
"""A dialect has a dozen; a policy that makes up more shall not fill the memory."""


class TokenTexts(Protocol):
    """Who knows the bytes of a token, such as a `TokenCodec`."""

    def token_bytes(self, token: int) -> bytes:
        """Return what one token writes."""


class Lexicon:
    """The shared texts of one file of episodes, to read and to add to."""

    def __init__(self, path: Path) -> None:
        """Nothing is read of `path`, which need not exist, until `read`."""
        self.path = path
        self.tokens: dict[int, bytes] = {}
        self.texts: dict[str | int, str] = {}
        self._size = self._marks = 0

    def read(self) -> Lexicon:
        """Read what the file holds, unless it is as long as before; returns itself.

        A line that cannot be read is left out.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if size != self._size:
            self._size = size
            with self.path.open("rb") as lines:
                for line in lines:
                    self._take(line)
        return self

    @classmethod
    def beside(cls, episodes: Path) -> Lexicon:
        """Return that of a file of episodes."""
        return cls(episodes.with_suffix(".texts"))

    def _take(self, line: bytes) -> None:
        try:
            entry = read_object(line, constants=True)
            for token, text in entry.get("tokens", {}).items():
                self.tokens[int(token)] = text.encode() if isinstance(text, str) else bytes(text)
            if "text" in entry:
                key, text = entry["text"]
                if isinstance(text, str):
                    self._marks += isinstance(key, int) and key not in self.texts
                    self.texts[key] = text
        except (UsageError, ValueError, TypeError, AttributeError):
            return

    def learn_tokens(self, ids: Iterable[int], known: TokenTexts) -> dict[str, Any]:
        """Take in the texts of tokens that are new; return what to write of them, if any."""
        new = set(ids) - self.tokens.keys()
        for token in new:
            self.tokens[token] = known.token_bytes(token)
        return {str(token): _text(self.tokens[token]) for token in sorted(new)}

    def restore(self, row: Mapping[str, Any]) -> None:
        """Put the shared texts back into the transcript of `row`; one that is not there is empty.

        One that is not known may have been written meanwhile: the file is looked at again.
        Raises `ValueError`, `TypeError` or `IndexError` for what is no transcript.
        """
        for _, segments in row.get("transcript", ()):
            for place, segment in enumerate(segments):
                if isinstance(segment, int):
                    segments[place] = self._known(segment)
                elif isinstance(segment, list) and isinstance(segment[1], dict):
                    segment[1] = self._known(segment[1].get("text", ""))

    def _known(self, key: str | int) -> str:
        return self.texts.get(key) or self.read().texts.get(key, "")

    def share(self, row: dict[str, Any]) -> list[list[str | int]]:
        """Put digests for marks, and for the long stretches of the opening of `row`; return what is
        new."""
        known = len(self.texts)
        for number, (by, segments) in enumerate(row.get("transcript", ())):
            for place, segment in enumerate(segments):
                if isinstance(segment, str):
                    segments[place] = self._mark(segment)
                elif number or by != "task" or segment[0] != "system":
                    continue
                elif len(text := segment[1]) >= _SHARED_FROM:
                    key = _digest(text, 6).hex()
                    self.texts.setdefault(key, text)
                    segment[1] = {"text": key}
        return [[key, text] for key, text in islice(self.texts.items(), known, None)]

    def _mark(self, text: str) -> str | int:
        """Return the number of a mark, or itself where it gets none."""
        if len(text) not in _SHARED_MARKS:
            return text
        key = int.from_bytes(_digest(text, 2), "big")
        if key not in self.texts:
            if self._marks >= _MOST_MARKS:
                return text
            self._marks += 1
            self.texts[key] = text
        # So few digits may stand for another one already.
        return key if self.texts[key] == text else text


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _text(written: bytes) -> str | list[int]:
    try:
        return written.decode()
    except UnicodeDecodeError:
        return list(written)
