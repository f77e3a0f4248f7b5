"""From rendered pieces to token ids, such that no foreign text ever becomes a control token.

Every added token of the tokenizer (`<|im_end|>`, `<think>`, `<tool_call>`, ...) can be produced
only by a piece with `control=True`. Text between two control tokens is encoded as one stretch,
whoever wrote it, so innocent text gets the very ids that the model's own template would give.
Added tokens that are plain vocabulary (the runs of spaces of GPT-NeoX, the phrases of the tiny
policy) are no control tokens: they are not special, are matched in normalized text, and hold
white space, which no markup does. The unknown token is none either.
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from qwq_env.dialect.base import Piece
from qwq_env.dialect.plain_encoder import Backend, read_backend
from qwq_env.errors import UsageError

# White space as the tokenizers library knows it; Python's `strip` takes four controls more.
_LEADING = re.compile(r"^[^\S\x1c-\x1f]+")
_TRAILING = re.compile(r"[^\S\x1c-\x1f]+$")

_SHORT = 32
"""Characters of a stretch whose ids are remembered first: markup and brief results come again."""
_REMEMBERED = 8192
_REMEMBERED_MARKUP = 512
_REMEMBERED_LONG = 64
"""Long stretches kept, the least recently used going first: every prompt begins with the same."""


class Markup(NamedTuple):
    """Control text taken apart at its first control token and behind its last.

    `ids` are those from the one to the other. `lstrip` says that the first takes the white space
    before it, `rstrip` that the last takes what follows it.
    """

    before: str
    lstrip: bool
    ids: list[int]
    after: str
    rstrip: bool


class TokenCodec:
    """Encodes pieces and decodes ids with a Hugging Face fast tokenizer.

    It has `encode` and `decode` of plain text too, so it serves wherever a `Tokenizer` is wanted.
    `control_ids` maps each control token's text to its id. Unpaired surrogates, which no
    vocabulary holds, are encoded as `?`.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a `PreTrainedTokenizerFast`. Raises `UsageError` for a slow tokenizer."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            name = type(tokenizer).__name__
            raise UsageError(f"tokenizer: {name} is not a fast tokenizer, and one is needed")
        self._backend = backend
        self._read: Backend = read_backend(backend.to_str())
        self.control_ids: dict[str, int] = {
            token.content: token.id for token in self._read.control.values()
        }
        self._control_set = frozenset(self.control_ids.values())
        longest_first = sorted(self.control_ids, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._known: dict[tuple[int, str], list[int]] = {}
        self._known_markup: dict[str, Markup | None] = {}
        self._known_long: OrderedDict[tuple[int, str], list[int]] = OrderedDict()
        self.eos_token_id: int | None = tokenizer.eos_token_id
        self.pad_token_id: int | None = tokenizer.pad_token_id
        self._anchor: list[int] | None = None
        self._anchor_text = ""

    def encode(self, text: str) -> list[int]:
        """Return the ids of foreign text: control tokens spelled out in it stay letters."""
        return list(self._foreign(self._read.first, text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control tokens included."""
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text

    def token_bytes(self, token: int) -> bytes:
        """Return what one token writes in the middle of a text; some write a part of a letter."""
        if self._anchor is None:
            # SentencePiece's decoders take a space from the first word of a text.
            self._anchor = (self.encode("a") or [token])[:1]
            self._anchor_text = self.decode(self._anchor)
        text = self.decode([*self._anchor, token])
        text = text.removeprefix(self._anchor_text)
        if "\ufffd" not in text:
            return text.encode("utf-8", "surrogatepass")
        piece = self._backend.id_to_token(token) or ""
        if byte := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece):
            return bytes([int(byte[1], 16)])
        letters = byte_letters()
        if piece and all(letter in letters for letter in piece):
            return bytes(letters[letter] for letter in piece)
        return text.encode()

    def encode_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the ids of rendered pieces.

        Text before the first control token continues what the context holds already: a
        tokenizer that puts a space before the first word of a text puts none there.
        """
        ids: list[int] = []
        encoder = self._read.continued
        stretch: list[str] = []
        strip_next = False
        for text, control in pieces:
            markup = self._markup(text) if control else None
            if markup is None:
                stretch.append(text)
                continue
            stretch.append(markup.before)
            plain = "".join(stretch)
            if strip_next or markup.lstrip:
                plain = _strip(plain, left=strip_next, right=markup.lstrip)
            ids += self._foreign(encoder, plain)
            ids += markup.ids
            stretch = [markup.after]
            strip_next, encoder = markup.rstrip, self._read.after_control
        ids += self._foreign(encoder, _strip("".join(stretch), left=strip_next, right=False))
        return ids

    def _markup(self, text: str) -> Markup | None:
        """Take control text apart; None if no control token is in it. What comes again is kept."""
        if text in self._known_markup:
            return self._known_markup[text]
        if len(self._known_markup) >= _REMEMBERED_MARKUP:
            self._known_markup.clear()
        found = self._known_markup[text] = self._read_markup(text)
        return found

    def _read_markup(self, text: str) -> Markup | None:
        tokens = list(self._control.finditer(text))
        if not tokens:
            return None
        flags = [self._read.control[token[0]] for token in tokens]
        ids = [flags[0].id]
        for left, right, before, after in zip(tokens, tokens[1:], flags, flags[1:], strict=False):
            plain = text[left.end() : right.start()]
            plain = _strip(plain, left=before.rstrip, right=after.lstrip)
            ids += self._foreign(self._read.after_control, plain)
            ids.append(after.id)
        return Markup(
            text[: tokens[0].start()], flags[0].lstrip, ids, text[tokens[-1].end() :],
            flags[-1].rstrip,
        )  # fmt: skip

    def _foreign(self, encoder: Any, text: str) -> list[int]:
        """Encode a stretch in which nothing controls; short ones are looked up."""
        if not text:
            return []
        key = (id(encoder), text)
        if len(text) > _SHORT:
            return self._long(encoder, key)
        ids = self._known.get(key)
        if ids is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            ids = self._known[key] = self._encode(encoder, text)
        return ids

    def _long(self, encoder: Any, key: tuple[int, str]) -> list[int]:
        ids = self._known_long.get(key)
        if ids is None:
            ids = self._known_long[key] = self._encode(encoder, key[1])
            if len(self._known_long) > _REMEMBERED_LONG:
                self._known_long.popitem(last=False)
        else:
            self._known_long.move_to_end(key)
        return ids

    def _encode(self, encoder: Any, text: str) -> list[int]:
        try:
            ids: list[int] = encoder.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError):
            # Unpaired surrogates: the library takes no string that UTF-8 cannot write.
            clean = text.encode("utf-8", "replace").decode("utf-8")
            ids = encoder.encode(clean, add_special_tokens=False).ids
        if self._control_set.isdisjoint(ids):
            return ids
        # The model's own vocabulary holds the control token's text as a piece (T5's `</s>`).
        # Cut there, it is spelled in smaller pieces; one character alone is left out.
        middle = len(text) // 2
        if middle == 0:
            return [i for i in ids if i not in self._control_set]
        rest = self._read.continued
        return self._encode(encoder, text[:middle]) + self._encode(rest, text[middle:])


@functools.cache
def byte_letters() -> dict[str, int]:
    """Return the letters that byte-level vocabularies (GPT-2's) write for bytes, and the bytes."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(0x100) if byte not in set(seen)]
    own = {chr(byte): byte for byte in seen}
    return own | {chr(0x100 + number): byte for number, byte in enumerate(unseen)}


def _strip(text: str, *, left: bool, right: bool) -> str:
    if left:
        text = _LEADING.sub("", text)
    return _TRAILING.sub("", text) if right else text
