"""From rendered pieces to token ids, such that no foreign text ever becomes a control token.

Every added token of the tokenizer (`<|im_end|>`, `<think>`, `<tool_call>`, ...) can be produced
only by a piece with `control=True`. Text between two control tokens is encoded as one stretch,
whoever wrote it, so innocent text gets the very ids that the model's own template would give.
Added tokens that are plain vocabulary (the runs of spaces of GPT-NeoX, the phrases of the tiny
policy) are no control tokens: they are not special, are matched in normalized text, and hold
white space, which no markup does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from qwq_env.dialect.base import Piece
from qwq_env.errors import UsageError


class TokenCodec:
    """Encodes pieces and decodes ids with a Hugging Face fast tokenizer.

    It has `encode` and `decode` of plain text too, so it serves wherever a `Tokenizer` is wanted.
    `control_ids` maps each control token's text to its id.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a `PreTrainedTokenizerFast`. Raises `UsageError` for a slow tokenizer."""
        import tokenizers  # noqa: PLC0415 - the core must import without it

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            name = type(tokenizer).__name__
            raise UsageError(f"tokenizer: {name} is not a fast tokenizer, and one is needed")
        description = json.loads(backend.to_str())
        added = description["added_tokens"]
        vocabulary = description["model"]["vocab"]
        phrases = {token["content"]: token["id"] for token in added if _is_vocabulary(token)}
        if not isinstance(vocabulary, dict):  # Unigram models: a list of scored pieces
            phrases = {}
        self.control_ids: dict[str, int] = {
            token["content"]: token["id"] for token in added if token["content"] not in phrases
        }
        description["added_tokens"] = [token for token in added if token["content"] in phrases]
        # Known to the model, they keep their ids although other added tokens are gone.
        if phrases:
            vocabulary.update(phrases)
        # A post-processor adds tokens of its own, and padding or truncation would corrupt ids.
        description.update(post_processor=None, truncation=None, padding=None)
        self._plain = tokenizers.Tokenizer.from_str(json.dumps(description))
        self._backend = backend
        longest_first = sorted(self.control_ids, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.eos_token_id: int | None = tokenizer.eos_token_id
        self.pad_token_id: int | None = tokenizer.pad_token_id

    def encode(self, text: str) -> list[int]:
        """Return the ids of foreign text: control tokens spelled out in it stay letters."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control tokens included."""
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text

    def encode_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the ids of rendered pieces."""
        ids: list[int] = []
        plain: list[str] = []
        for piece in pieces:
            if not piece.control:
                plain.append(piece.text)
                continue
            position = 0
            for match in self._control.finditer(piece.text):
                plain.append(piece.text[position : match.start()])
                position = match.end()
                self._flush(plain, ids)
                ids.append(self.control_ids[match[0]])
            plain.append(piece.text[position:])
        self._flush(plain, ids)
        return ids

    def _flush(self, plain: list[str], ids: list[int]) -> None:
        text = "".join(plain)
        plain.clear()
        if text:
            ids += self.encode(text)


def _is_vocabulary(token: dict[str, Any]) -> bool:
    plain = token["normalized"] and not token["special"]
    return plain and any(character.isspace() for character in token["content"])
