"""Each of the 25 checks on a response that follows, and on one that just does not."""

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.instructions import INSTRUCTIONS, check_instructions

WORDS = {"num_words": 3, "relation": "at least"}
SENTENCES = {"num_sentences": 3, "relation": "less than"}
FREQUENCY = {"keyword": "war", "frequency": 2, "relation": "at least"}
LETTER = {"letter": "!", "let_frequency": 2, "let_relation": "at least"}
NTH = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"}
SECTIONS = {"section_spliter": "SECTION", "num_sections": 2}
CAPITALS = {"capital_frequency": 3, "capital_relation": "less than"}
REPEAT = {"prompt_to_repeat": "Say hello."}

CASES = [
    ("keywords:existence", {"keywords": ["Mom", "cat"]}, "A MOMENT with cats", "A moment"),
    ("keywords:frequency", FREQUENCY, "warm WAR", "one war"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocks rocked", "We will ROCK."),
    ("keywords:letter_frequency", LETTER, "Oh! No!", "Oh!"),
    ("language:response_language", {"language": "fr"}, "Il fait beau ce matin.", "It is morning."),
    ("length_constraints:number_sentences", SENTENCES, "Mr. A. Lee left. OK.", "A is. B is! C is."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a***\n***b"),
    ("length_constraints:number_words", WORDS, "don't go", "two words"),
    ("length_constraints:nth_paragraph_first_word", NTH, "a\n\n'Weekend, b", "a\n\nA weekend"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a] [b\n]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "a\np. p.s b", "a\nP.S. b"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b", "* a\n** b"),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "**a** *b*",
        "**a** * *",
    ),
    (
        "detectable_format:multiple_sections",
        SECTIONS,
        "SECTION 1 a SECTION2",
        "Section 1 SECTION 2",
    ),
    ("detectable_format:title", {}, "x\n<<a title>>", "<<a\ntitle>> << >>"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:constrained_response", {}, "So: My answer is no.", "my answer is no."),
    ("combination:two_responses", {}, "a\n******\nb", "a******a"),
    ("combination:repeat_prompt", REPEAT, " say hello.\nHello!", "Sure. Say hello."),
    (
        "startend:end_checker",
        {"end_phrase": "Is that all?"},
        '"... is THAT all?"',
        "Is that all? Yes",
    ),
    ("startend:quotation", {}, ' "a" ', "“a”"),
    ("punctuation:no_comma", {}, "a; b", "a, b"),
    ("change_case:english_capital", {}, "THIS IS A GOOD DAY TO LEARN.", "THIS IS A GOOD DAy."),
    ("change_case:english_lowercase", {}, "this is a good day to learn.", "This is a good day."),
    ("change_case:capital_word_frequency", CAPITALS, "I AM here. ok", "I DON'T."),
]


def strict(instruction: str, values: dict[str, object], response: str) -> bool | None:
    return check_instructions([instruction], [values], "", response).prompt_strict


def test_every_instruction_is_tested() -> None:
    assert sorted(case[0] for case in CASES) == list(INSTRUCTIONS)
    assert len(INSTRUCTIONS) == 25


@pytest.mark.parametrize(
    "instruction, values, follows, breaks", CASES, ids=[case[0] for case in CASES]
)
def test_check(instruction: str, values: dict[str, object], follows: str, breaks: str) -> None:
    assert strict(instruction, values, follows) is True
    assert strict(instruction, values, breaks) is False


PARAGRAPHS = {"num_paragraphs": 2}


@pytest.mark.parametrize(
    ("instruction", "values", "more", "follows"),
    [
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b\n- c", False),
        ("length_constraints:number_paragraphs", PARAGRAPHS, "a\n***\nb\n***\nc", False),
        (
            "detectable_format:number_highlighted_sections",
            {"num_highlights": 2},
            "*a* *b* *c*",
            True,
        ),
        (
            "detectable_format:multiple_sections",
            SECTIONS,
            "SECTION 1 a SECTION 2 b SECTION 3 c",
            True,
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b] [c]", True),
    ],
)
def test_one_more_than_asked(instruction, values, more, follows) -> None:
    """The specification says "exactly" of some numbers and "at least" of the others."""
    assert strict(instruction, values, more) is follows


@pytest.mark.parametrize("blank", ["", "  ", "\n\n", "\u2003"])
def test_a_blank_response_follows_nothing(blank: str) -> None:
    report = check_instructions(["punctuation:no_comma"], [{}], "", blank)

    assert report.prompt_strict is False
    assert report.prompt_loose is False


def test_a_keyword_is_text_and_not_an_expression() -> None:
    assert strict("keywords:existence", {"keywords": ["(a+)+$"]}, "a" * 40 + "!") is False
    assert strict("keywords:existence", {"keywords": ["C++"]}, "I like c++") is True


def test_json_nested_beyond_the_parser_is_not_json() -> None:
    assert strict("detectable_format:json_format", {}, "[" * 100_000) is False


@pytest.mark.parametrize(
    "instruction, values, message",
    [
        ("keywords:frequency", {"keyword": "a", "relation": "at least"}, "frequency is missing"),
        ("keywords:frequency", {**FREQUENCY, "relation": "about"}, "'less than' or 'at least'"),
        ("keywords:existence", {"keywords": []}, "keywords is []"),
        ("keywords:letter_frequency", {**LETTER, "letter": "ab"}, "one character"),
        ("length_constraints:number_words", {**WORDS, "num_words": "3"}, "an integer"),
        ("length_constraints:nth_paragraph_first_word", {**NTH, "nth_paragraph": 3}, "1 to 2"),
        ("punctuation:no_commas", {}, "did you mean 'punctuation:no_comma'"),
    ],
)
def test_a_malformed_row_is_the_operators_mistake(
    instruction: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_instructions([instruction], [values], "", "a response")

    assert message in str(caught.value)
    assert instruction in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("response", [".", "<", "[", "*", " ", "\n", '"', "'", "`", "a'", "- "])
def test_a_long_response_costs_linear_time(response: str) -> None:
    report = check_instructions(
        [case[0] for case in CASES], [case[1] for case in CASES], "", response * 20_000
    )

    assert report.prompt_strict is False
