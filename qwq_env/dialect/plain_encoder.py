"""Take a fast tokenizer apart: its control tokens, and encoders that know none of them.

Three encoders, which for byte-level vocabularies (Qwen, Llama 3, GPT-2) are one and the same. In
SentencePiece's style a text begins with a space of the tokenizer's own making, and so may each
stretch behind an added token; whoever encodes stretches one by one has to know which.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from qwq_env.errors import UsageError


class ControlToken(NamedTuple):
    """An added token; `lstrip` and `rstrip` say that it swallows the white space beside it."""

    content: str
    id: int
    lstrip: bool
    rstrip: bool


class Backend(NamedTuple):
    """A tokenizer taken apart.

    `first` encodes a whole text, `after_control` what follows a control token, `continued` what
    goes on in the middle of a text. `control` is keyed by the tokens' text.
    """

    control: dict[str, ControlToken]
    first: Any
    after_control: Any
    continued: Any


def read_backend(serialized: str) -> Backend:
    """Read a `tokenizers.Tokenizer` as its `to_str` gives it.

    Raises `UsageError` if the library cannot rebuild it without its control tokens.
    """
    description = json.loads(serialized)
    control, plain = _split_added(description)
    vocabulary = description["model"]["vocab"]
    description["added_tokens"] = plain
    if plain:
        # Known to the model, they keep their ids although other added tokens are gone.
        vocabulary.update({token["content"]: token["id"] for token in plain})
    # A post-processor adds tokens of its own, and padding or truncation would corrupt ids.
    description.update(post_processor=None, truncation=None, padding=None)
    first = _build(description)
    after = dict(description, pre_tokenizer=_not_first(description["pre_tokenizer"]))
    continued = dict(
        after,
        normalizer=_without_prefix(description["normalizer"]),
        pre_tokenizer=_without_prefix(description["pre_tokenizer"]),
    )
    after_control = first if after == description else _build(after)
    rest = after_control if continued == after else _build(continued)
    return Backend(control, first, after_control, rest)


def _split_added(
    description: dict[str, Any],
) -> tuple[dict[str, ControlToken], list[dict[str, Any]]]:
    """Return the added tokens that control, and those that are plain vocabulary."""
    added = description["added_tokens"]
    unknown = _unknown_token(description["model"])
    # Unigram models keep a list of scored pieces, into which no phrase can be put.
    takes_phrases = isinstance(description["model"]["vocab"], dict)
    markup = [token["content"] for token in added if not _looks_plain(token)]
    control: dict[str, ControlToken] = {}
    plain: list[dict[str, Any]] = []
    for token in added:
        content = token["content"]
        # A phrase with markup inside it would bring the markup in by the back door.
        phrase = _looks_plain(token) and not any(mark in content for mark in markup)
        if phrase and takes_phrases:
            plain.append(token)
        elif content != unknown:
            control[content] = ControlToken(content, token["id"], token["lstrip"], token["rstrip"])
    return control, plain


def _looks_plain(token: dict[str, Any]) -> bool:
    ordinary = token["normalized"] and not token["special"]
    return ordinary and any(character.isspace() for character in token["content"])


def _unknown_token(model: dict[str, Any]) -> str | None:
    if isinstance(model["vocab"], list):
        index = model.get("unk_id")
        return None if index is None else model["vocab"][index][0]
    return model.get("unk_token")


def _not_first(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a pre-tokenizer that does not take its text for the beginning of one."""
    if part is None:
        return None
    if "pretokenizers" in part:
        return dict(part, pretokenizers=[_not_first(inner) for inner in part["pretokenizers"]])
    if part.get("prepend_scheme") == "first":
        return dict(part, prepend_scheme="never")
    return part


def _without_prefix(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a normalizer or pre-tokenizer that puts no space before its text."""
    if part is None or part["type"] == "Prepend":
        return None
    for inner in ("normalizers", "pretokenizers"):
        if inner in part:
            kept = [_without_prefix(one) for one in part[inner]]
            return dict(part, **{inner: [one for one in kept if one is not None]})
    changed = dict(part)
    if "prepend_scheme" in part:
        changed["prepend_scheme"] = "never"
    if part.get("add_prefix_space"):
        changed["add_prefix_space"] = False
    return changed


def _build(description: dict[str, Any]) -> Any:
    import tokenizers  # noqa: PLC0415 - the core must import without it

    try:
        return tokenizers.Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise UsageError(f"tokenizer: control tokens cannot be taken out: {error}") from None
