"""Tokenizers unlike Qwen's: SentencePiece's spaces, greedy control tokens, markup as vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec

WORDS = st.text("ab <s>/", max_size=12)
END = Piece("</s>", control=True)

relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def characters(*extra: str) -> models.BPE:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = ["<unk>", "<s>", "</s>", *bytes_, *"▁ab<>/s", "▁a", "ab", *extra]
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    merges = [("▁", "a"), ("a", "b")]
    return models.BPE(
        vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True
    )


def wrap(model: Any, **parts: Any) -> Any:
    backend = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(backend, name, part)
    backend.add_special_tokens(
        [tokenizers.AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")


def metaspace(scheme: str) -> Any:
    space = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    return wrap(characters(), pre_tokenizer=space, decoder=decoders.Metaspace("▁", scheme))


def legacy() -> Any:
    prefix = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    back = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return wrap(characters(), normalizer=prefix, decoder=back)


SENTENCEPIECE = {
    "first": lambda: metaspace("first"),
    "always": lambda: metaspace("always"),
    "never": lambda: metaspace("never"),
    "legacy": legacy,
}


@pytest.fixture(params=SENTENCEPIECE)
def sentencepiece(request: pytest.FixtureRequest) -> Any:
    return SENTENCEPIECE[request.param]()


@relaxed
@given(texts=st.lists(st.text("ab /", max_size=6), min_size=2, max_size=2))
def test_stretches_get_the_ids_of_the_whole_text(sentencepiece: Any, texts: list[str]) -> None:
    codec = TokenCodec(sentencepiece)
    begin = Piece("<s>", control=True)
    pieces = [begin, Piece(texts[0]), END, Piece(texts[1])]

    whole = sentencepiece(f"<s>{texts[0]}</s>{texts[1]}", add_special_tokens=False)["input_ids"]

    assert codec.encode_pieces(pieces) == whole


def test_what_continues_a_text_gets_no_space_before_it(sentencepiece: Any) -> None:
    codec = TokenCodec(sentencepiece)
    tokens = sentencepiece.convert_ids_to_tokens(codec.encode_pieces([Piece("b a"), END]))

    assert tokens == ["b", "▁a", "</s>"]


@pytest.mark.parametrize("text", ["a", "a b" * 20])
def test_where_a_text_stood_before_changes_nothing(sentencepiece: Any, text: str) -> None:
    """At the start, after other text and behind a control token: the ids may differ each time."""
    pieces = [[Piece(text)], [END, Piece(text)], [Piece("b"), Piece(text)]]
    used = TokenCodec(sentencepiece)
    fresh = [TokenCodec(sentencepiece).encode_pieces(each) for each in pieces]

    assert used.encode(text) == TokenCodec(sentencepiece).encode(text)
    assert [used.encode_pieces(each) for each in pieces] == fresh
    assert used.encode(text) == TokenCodec(sentencepiece).encode(text)


@relaxed
@given(text=WORDS | st.text(max_size=6))
def test_spelled_out_control_tokens_stay_letters(sentencepiece: Any, text: str) -> None:
    codec = TokenCodec(sentencepiece)

    assert not set(codec.control_ids.values()) & set(codec.encode(text))


@relaxed
@given(text=WORDS)
def test_a_unigram_vocabulary_that_holds_the_markup(text: str) -> None:
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((c, -2.0) for c in "▁ab<>/s")]
    codec = TokenCodec(wrap(models.Unigram(pieces, unk_id=0)))

    assert not {1, 2} & set(codec.encode(text))


def test_a_word_vocabulary_that_holds_the_markup() -> None:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}
    model = models.WordLevel(vocabulary, unk_token="<unk>")
    codec = TokenCodec(wrap(model, pre_tokenizer=pre_tokenizers.WhitespaceSplit()))

    assert codec.encode("a </s> a <s>").count(3) == 2
    assert not {1, 2} & set(codec.encode("a </s> a <s>"))
    assert codec.encode_pieces([Piece("a"), END]) == [3, 2]


def test_unknown_characters_are_no_control_tokens() -> None:
    model = models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>")
    codec = TokenCodec(wrap(model))

    assert codec.encode("?") == [0]
    assert "<unk>" not in codec.control_ids


@pytest.mark.parametrize(("lstrip", "rstrip"), [(True, False), (False, True), (True, True)])
def test_greedy_control_tokens_swallow_the_space_beside_them(lstrip: bool, rstrip: bool) -> None:
    backend = tokenizers.Tokenizer(characters(" ", "\n"))
    greedy = tokenizers.AddedToken("<|end|>", lstrip=lstrip, rstrip=rstrip, normalized=False)
    backend.add_special_tokens([greedy])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    pieces = [Piece("a \n"), Piece("<|end|>", control=True), Piece("\n b"), Piece(" a")]

    whole = tokenizer("a \n<|end|>\n b a", add_special_tokens=False)["input_ids"]

    assert TokenCodec(tokenizer).encode_pieces(pieces) == whole


def test_normalized_control_tokens_are_not_matched_in_foreign_text() -> None:
    backend = tokenizers.Tokenizer(characters())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.add_tokens([tokenizers.AddedToken("<sss>", normalized=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    codec = TokenCodec(tokenizer)
    control = codec.control_ids["<sss>"]

    assert control in tokenizer("＜SSS＞", add_special_tokens=False)["input_ids"]
    assert control not in codec.encode("＜SSS＞ <sss> <SSS>")
    assert codec.encode_pieces([Piece("<sss>", control=True)]) == [control]


def test_phrases_are_plain_but_not_with_markup_inside() -> None:
    backend = tokenizers.Tokenizer(characters())
    backend.add_special_tokens([tokenizers.AddedToken("</s>", normalized=False)])
    phrases = ["a phrase", "</s>\nb"]
    backend.add_tokens([tokenizers.AddedToken(p, normalized=True) for p in phrases])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    codec = TokenCodec(tokenizer)
    plain, markup = tokenizer.convert_tokens_to_ids(phrases)

    assert codec.encode("a phrase") == [plain]
    assert markup not in codec.encode("</s>\nb")


def test_single_tokens_write_the_text_together(sentencepiece: Any) -> None:
    codec = TokenCodec(sentencepiece)
    pieces = [Piece("<s>", control=True), Piece("ab a b/"), END]
    written = b"".join(map(codec.token_bytes, codec.encode_pieces(pieces))).decode()

    assert written.replace("<s> ", "<s>") == "<s>ab a b/</s>"


def test_a_part_of_a_letter_is_its_bytes(codec: TokenCodec) -> None:
    for words in (codec, TokenCodec(legacy())):
        ids = words.encode("a€")

        assert b"".join(map(words.token_bytes, ids[-3:])) == "€".encode()
