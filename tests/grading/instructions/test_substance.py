"""What follows the published rules and holds nothing: not paid; what holds something is."""

import sys
import unicodedata

import pytest

from qwq_env.grading.instructions import check_instructions
from qwq_env.grading.instructions.substance import visible

from .test_checks import CASES

ZERO, FILLER, BRAILLE = "\u200b", "\u3164", "\u2800"
WORDS = {"num_words": 3, "relation": "at least"}
SENTENCES = {"num_sentences": 2, "relation": "at least"}
BULLETS, MARKS, BOXES = {"num_bullets": 3}, {"num_highlights": 2}, {"num_placeholders": 3}
SECTIONS = {"section_spliter": "Part", "num_sections": 2}
PARAGRAPHS = {"num_paragraphs": 2}
NTH = {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "a"}
POSTSCRIPT, LETTER = {"postscript_marker": "P.S."}, {"letter": ZERO, "let_frequency": 1}
REPEAT = {"prompt_to_repeat": "Say a."}
FORBIDDEN = {"forbidden_words": ["rock"]}
FRENCH = {"language": "fr"}

EMPTY = [
    ("length_constraints:number_words", WORDS, f"{FILLER} " * 3),
    ("length_constraints:number_words", WORDS, "_ _ _"),
    ("length_constraints:number_words", WORDS, f"\u115f {FILLER} \uffa0 a"),
    ("length_constraints:number_sentences", SENTENCES, "A is. ! ! !"),
    ("length_constraints:number_paragraphs", PARAGRAPHS, f"a\n***\n{ZERO}"),
    ("length_constraints:number_paragraphs", PARAGRAPHS, "a\n***\n-"),
    ("length_constraints:nth_paragraph_first_word", NTH, "a\n\n."),
    ("detectable_format:title", {}, f"<<{ZERO}>>"),
    ("detectable_format:title", {}, f"<<{FILLER}>> a"),
    ("detectable_format:title", {}, "<<...>> a"),
    ("detectable_format:number_bullet_lists", BULLETS, "* \n* \n* "),
    ("detectable_format:number_bullet_lists", BULLETS, "- a\n- \n- -"),
    ("detectable_format:number_bullet_lists", BULLETS, f"* a\n* b\n* {BRAILLE}"),
    ("detectable_format:number_highlighted_sections", MARKS, f"*{ZERO}* *{ZERO}* a"),
    ("detectable_format:number_highlighted_sections", MARKS, "*a* *.*"),
    ("detectable_format:multiple_sections", SECTIONS, "Part 1\nPart 2\n"),
    ("detectable_format:multiple_sections", SECTIONS, f"Part 1 a\nPart 2\n{ZERO}"),
    ("detectable_content:number_placeholders", BOXES, "[][][] a"),
    ("detectable_content:number_placeholders", BOXES, f"[a][b][{FILLER}]"),
    ("detectable_content:postscript", POSTSCRIPT, f"a\nP.S. {ZERO}"),
    ("detectable_content:postscript", POSTSCRIPT, "a\nP. S. -"),
    ("combination:two_responses", {}, f"a\n******\na{ZERO}"),
    ("combination:two_responses", {}, "Yes\n******\nyes."),
    ("combination:two_responses", {}, f"a******{FILLER}"),
    ("combination:repeat_prompt", REPEAT, "Say a."),
    ("combination:repeat_prompt", REPEAT, f"Say a.{ZERO}"),
    ("detectable_format:json_format", {}, '{"side": 4, "side": 3}'),
    ("detectable_format:json_format", {}, '[{"a": 1, "\\u0061": 1}]'),
    ("detectable_format:json_format", {}, "{}"),
    ("detectable_format:json_format", {}, '{"a": NaN}'),
    ("startend:quotation", {}, '""'),
    ("startend:quotation", {}, f'"{ZERO}"'),
    ("punctuation:no_comma", {}, ZERO),
    ("punctuation:no_comma", {}, BRAILLE * 5),
    ("punctuation:no_comma", {}, "..."),
    ("keywords:forbidden_words", FORBIDDEN, f"We ro{ZERO}ck."),
    ("language:response_language", FRENCH, "1234"),
    ("language:response_language", FRENCH, ZERO),
]


def verdict(instruction, values, response, rules="reward", prompt="p"):
    report = check_instructions([instruction], [values], prompt, response, rules=rules)
    return report.verdicts[0]


@pytest.mark.parametrize(("instruction", "values", "response"), EMPTY)
def test_what_holds_nothing_is_not_paid(instruction, values, response):
    found = verdict(instruction, values, response)

    assert (found.strict, found.loose) == (False, False)


@pytest.mark.parametrize(("instruction", "values", "response"), EMPTY)
def test_and_the_published_rules_do_not_see_it(instruction, values, response):
    assert verdict(instruction, values, response, "ifeval").strict is True


# By their examples; three of them hold next to nothing.
SHORT = {"detectable_format:multiple_sections", "length_constraints:number_paragraphs"}


@pytest.mark.parametrize(
    ("instruction", "values", "follows", "breaks"), [case for case in CASES if case[0] not in SHORT]
)
def test_an_answer_is_paid_by_the_same_rules(instruction, values, follows, breaks):
    assert verdict(instruction, values, follows).strict is True
    assert verdict(instruction, values, breaks).strict is False


@pytest.mark.parametrize(
    ("instruction", "values", "response"),
    [
        ("detectable_format:multiple_sections", SECTIONS, "Part 1\n一\nPart 2\nb"),
        ("length_constraints:number_paragraphs", PARAGRAPHS, "a\n***\n2"),
        ("detectable_content:number_placeholders", BOXES, "[[name]] [a] x] [b]"),
        ("combination:two_responses", {}, "Yes.\n******\nNo."),
        ("detectable_format:json_format", {}, '```json\n{"a": {"b": 1}, "c": {"b": 1}}\n```'),
        ("combination:repeat_prompt", {"prompt_to_repeat": f"Say{ZERO} a."}, "say a.\nA."),
        ("combination:repeat_prompt", {}, f"Say{ZERO} a.\nA."),
        ("keywords:existence", {"keywords": ["می\u200cخواهم"]}, "من می\u200cخواهم"),
        ("length_constraints:number_words", WORDS, "👩\u200d💻 one two three"),
    ],
)
def test_what_is_seen_is_paid(instruction, values, response):
    assert verdict(instruction, values, response, prompt=f"Say{ZERO} a.").strict is True


def test_a_character_that_is_not_seen_is_not_looked_at():
    every = map(chr, range(sys.maxunicode + 1))
    signs = ("ARABIC", "KAITHI", "EGYPTIAN", "SYRIAC")
    unseen = [
        c for c in every
        if unicodedata.category(c) == "Cf"
        and not (unicodedata.name(c, "").startswith(signs) and c != "\u061c")
    ]  # fmt: skip

    assert visible("".join(unseen)) == ""
    assert visible("a\tb\r\nc\x85d\u3000é👩") == "a\tb\r\nc\x85d\u3000é👩"
    assert visible("\x00\x1b\u00ad\u034f\u180b\ufe0f\U000e0100") == ""


@pytest.mark.parametrize(
    "response", ["[", "]", "[]", "<<", ">>", "*", "* \n", "p.", "******", "_ "]
)
def test_a_long_response_costs_linear_time(response):
    ids, values = [case[0] for case in CASES], [case[1] for case in CASES]
    report = check_instructions(ids, values, "", response * 20_000, rules="reward")

    assert report.prompt_strict is False
