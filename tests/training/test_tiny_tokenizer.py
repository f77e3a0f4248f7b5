import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from qwq_env.dialect.base import Piece, text_of
from qwq_env.dialect.codec import TokenCodec
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.envs.arithmetic import ArithmeticTaskSet
from qwq_env.envs.word_problems import NAMES, THINGS
from qwq_env.registry import make_environment
from qwq_env.tools.calculator import Calculator
from qwq_env.training.recipe import PolicyRecipe
from qwq_env.training.tiny.lessons import tiny_lessons
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.tiny.phrases import constant_phrases
from qwq_env.training.tiny.policy import build_tiny_policy
from qwq_env.training.tiny.teacher import Teacher
from qwq_env.training.tiny.tokenizer import MARKUP_TOKENS, SPECIAL_TOKENS, build_tiny_tokenizer

from ..published import SAMPLES, read_rows

SYSTEM = "Please reason step by step."
LESSONS = Teacher(
    ArithmeticTaskSet(), [Calculator()], QwqDialect(), system_prompt=SYSTEM
).transcripts(300)
TOKENIZER = build_tiny_tokenizer(LESSONS)
CODEC = TokenCodec(TOKENIZER)


def test_a_prompt_is_short_and_the_vocabulary_small() -> None:
    prompts = [CODEC.encode_pieces(lesson.parts[0].pieces) for lesson in LESSONS]

    assert max(map(len, prompts)) <= 45
    assert len(TOKENIZER) < 500


def test_every_number_is_spelled_in_digits() -> None:
    held_out = ArithmeticTaskSet(split="heldout").task(0)
    digits = [sign for sign in held_out.prompt if sign.isdigit()]

    assert [
        text for id in CODEC.encode(held_out.prompt) if (text := CODEC.decode([id])).isdigit()
    ] == digits


def test_lessons_decode_to_themselves() -> None:
    assert all(CODEC.decode(lesson.encode(CODEC).ids) == lesson.text for lesson in LESSONS)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_encoded_without_loss_and_without_control_tokens(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    ids = CODEC.encode(text)

    assert CODEC.decode(ids) == text
    assert not set(ids) & set(CODEC.control_ids.values())


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, *MARKUP_TOKENS])
def test_only_control_pieces_give_control_tokens(token: str) -> None:
    assert len(CODEC.encode_pieces([Piece(token, control=True)])) == 1
    assert len(CODEC.encode_pieces([Piece(token)])) == len(token)


def test_phrases_are_no_control_tokens() -> None:
    assert set(CODEC.control_ids) == {*SPECIAL_TOKENS, *MARKUP_TOKENS}


def test_it_survives_auto_tokenizer_beside_a_qwen2_model(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    build_tiny_model(TOKENIZER).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)

    assert loaded.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
    assert loaded.chat_template == TOKENIZER.chat_template
    assert (loaded.eos_token, loaded.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert TokenCodec(loaded).control_ids == CODEC.control_ids


def test_the_model_is_tiny_and_depends_on_its_seed_alone(tmp_path: Path) -> None:
    model = build_tiny_model(TOKENIZER, seed=3)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    weights = model.state_dict()

    assert 80_000 < model.num_parameters() < 120_000
    assert all(weights[name].equal(value) for name, value in again.state_dict().items())
    assert all(
        weights[name].equal(value)
        for name, value in build_tiny_model(TOKENIZER, seed=3).state_dict().items()
    )
    assert not weights["model.embed_tokens.weight"].equal(
        build_tiny_model(TOKENIZER, seed=4).state_dict()["model.embed_tokens.weight"]
    )


CONVERSATION = [
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": "1 + é? <think>"},
    {
        "role": "assistant",
        "content": "<think>\nhm\n</think>\n\nok",
        "tool_calls": [
            {"type": "function", "function": {"name": "calculator", "arguments": {"e": "é<"}}},
            {"name": "other", "arguments": {}},
        ],
    },
    {"role": "tool", "content": "5"},
    {"role": "tool", "content": "<6>"},
    {"role": "user", "content": "so?"},
    {"role": "assistant", "content": "<think>\nyes\n</think>\n\nsix"},
]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("last", range(2, len(CONVERSATION) + 1))
@pytest.mark.parametrize("tools", [[], [Calculator().schema()]])
@pytest.mark.parametrize("opened", [True, False])
def test_the_chat_template_says_what_the_dialect_says(
    first: int, last: int, tools: list[dict[str, object]], opened: bool
) -> None:
    messages = CONVERSATION[first:last]
    rendered = TOKENIZER.apply_chat_template(
        messages, tools=tools or None, add_generation_prompt=opened, tokenize=False
    )

    assert rendered == text_of(QwqDialect().render(messages, tools, add_generation_prompt=opened))


@pytest.mark.parametrize("row", read_rows(SAMPLES / "qwq_chat.jsonl"), ids=lambda row: row["name"])
def test_the_chat_template_follows_the_published_one(row: dict) -> None:
    rendered = TOKENIZER.apply_chat_template(
        row["messages"],
        tools=row.get("tools") or None,
        add_generation_prompt=row["add_generation_prompt"],
        tokenize=False,
    )

    assert rendered == row["rendered"]


def test_phrases_are_what_never_varies() -> None:
    samples = [
        [f"The old {name} paid {n} coins to {name}.\n"]
        for n in range(100, 1000, 37)
        for name in "ABCDEF"
    ]

    assert constant_phrases(samples, ["<x>"], 10)[:3] == [" coins to", "The old", " paid "]


def test_words_grow_together_only_where_they_stand_in_every_sample() -> None:
    stories = [
        "Of {n} coins {n} are lost. Reason step by step.",
        "We paid {n}. Reason step by step.",
    ]
    samples = [[story.format(n=n)] for n in range(100, 1000, 37) for story in stories]

    assert " coins" in constant_phrases(samples, ["<x>"], 20, words=True)
    assert " are lost" not in constant_phrases(samples, ["<x>"], 20, words=True)
    assert ". Reason step by step." in constant_phrases(samples, ["<x>"], 20, words=True)
    assert any(" are lost" in phrase for phrase in constant_phrases(samples, ["<x>"], 20))


def test_no_phrase_crosses_markup_or_texts() -> None:
    samples = [["one two <x> three four", " five six"]] * 20

    assert sorted(constant_phrases(samples, ["<x>"], 10)) == [
        " five six",
        " three four",
        "one two ",
    ]


def test_digits_belong_to_phrases_only_where_they_never_vary() -> None:
    samples = [["in 10 s, no more", f"got {n} of 40 now"] for n in range(40)]
    varied = [*samples, ["something else"]]

    assert "in 10 s, no more" in constant_phrases(samples, ["<x>"], 10)
    assert not any("1" in phrase for phrase in constant_phrases(varied, ["<x>"], 10))


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_every_name_and_thing_is_one_token_whatever_the_seed(seed: int) -> None:
    """One that is not moves the numbers of its tasks, and they are copied wrongly then."""
    lessons = tiny_lessons(make_environment("qwq/MathTool-v0"), 2100, difficulty=1, seed=seed)
    _, tokenizer = build_tiny_policy(lessons, PolicyRecipe(), seed=seed)
    codec = TokenCodec(tokenizer)

    words = [*(f" {word}" for word in (*NAMES, *THINGS)), *(f"user\n{name}" for name in NAMES)]
    assert [word for word in words if len(codec.encode(word)) > 1] == []
