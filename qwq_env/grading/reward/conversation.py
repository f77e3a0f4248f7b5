"""A candidate as the token ids that a reward model reads, in its own chat template.

The template is rendered once for each sequence of roles, with marks in place of the contents;
the contents then go between the pieces as foreign text. So nothing that a task or a policy wrote
is ever seen by the template, and none of it becomes a control token: an answer that spells
`<|im_end|>` is scored as an answer that spells so.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from qwq_env.errors import UsageError
from qwq_env.grading.reward.model import Candidate

_CHARACTERS_A_TOKEN = 32
"""No text has more over a whole context; longer ones are not tokenized only to be refused."""
_MARK = "qwq7content{}end"
_MARKS = re.compile(r"qwq7content(\d+)end")


class Stretch(NamedTuple):
    """Text to encode; `control` says that control tokens in it are meant."""

    text: str
    control: bool


class Codec(Protocol):
    """Encodes stretches so that only those with `control` give control tokens.

    `qwq_env.dialect.codec.TokenCodec` is one.
    """

    def encode_pieces(self, pieces: Sequence[Any], /) -> list[int]:
        """Return the ids of all stretches in order."""


class ConversationEncoder:
    """Encodes candidates for the model whose Hugging Face tokenizer this is.

    `codec` wraps the same tokenizer. Safe to use from several threads.
    """

    def __init__(self, tokenizer: Any, codec: Codec) -> None:
        """Raises `UsageError` for a tokenizer without a chat template."""
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError("tokenizer: has no chat template; expected a chat reward model's")
        self._tokenizer = tokenizer
        self._codec = codec
        self._skeletons: dict[tuple[str, ...], list[str]] = {}
        # Fast tokenizers refuse to be borrowed by two threads at once.
        self._lock = threading.Lock()

    def encode(self, candidate: Candidate, max_tokens: int) -> list[int] | None:
        """Return the ids of prompt and answer, None if they are more than `max_tokens`.

        Raises `UsageError` for a prompt that the template does not take.
        """
        turns = [*candidate.messages(), ("assistant", candidate.answer)]
        if sum(len(content) for _, content in turns) > _CHARACTERS_A_TOKEN * max_tokens:
            return None
        with self._lock:
            skeleton = self._skeleton(tuple(role for role, _ in turns))
            ids = self._codec.encode_pieces(
                [
                    Stretch(turns[int(text)][1], False) if place % 2 else Stretch(text, True)
                    for place, text in enumerate(skeleton)
                ]
            )
        return ids if len(ids) <= max_tokens else None

    def _skeleton(self, roles: tuple[str, ...]) -> list[str]:
        """Return the template's own texts, with the number of a content between each two."""
        if roles not in self._skeletons:
            marks = [
                {"role": role, "content": _MARK.format(place)} for place, role in enumerate(roles)
            ]
            try:
                text = self._tokenizer.apply_chat_template(marks, tokenize=False)
            except Exception as error:  # noqa: BLE001 - whatever a template may raise
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"chat template: {', '.join(roles)}: {reason}") from None
            parts = _MARKS.split(text)
            if parts[1::2] != [str(place) for place in range(len(roles))]:
                raise UsageError(
                    f"chat template: {', '.join(roles)}: does not show each content once, in order"
                )
            self._skeletons[roles] = parts
        return self._skeletons[roles]
