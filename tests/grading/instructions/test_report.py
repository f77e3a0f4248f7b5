"""How the verdicts on single instructions make up the report and the score of a row."""

import math
import sys
from collections.abc import Iterator

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.instructions import check_instructions, grade_row, language, strip_thinking

NO_COMMA = "punctuation:no_comma"
QUOTED = "startend:quotation"
FRENCH = "language:response_language"


def row(response: str, *instructions: str) -> dict[str, object]:
    values = [{"language": "fr"} if name == FRENCH else {} for name in instructions]
    return {
        "prompt": "p",
        "instruction_id_list": list(instructions),
        "kwargs": values,
        "response": response,
    }


@pytest.fixture
def no_langdetect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    language._factory.cache_clear()
    monkeypatch.setitem(sys.modules, "langdetect.detector_factory", None)
    yield
    language._factory.cache_clear()


def test_loose_forgives_a_preamble_and_bold_type() -> None:
    report = check_instructions([QUOTED, NO_COMMA], [{}, {}], "", 'Sure, here:\n**"An answer"**')

    assert (report.prompt_strict, report.prompt_loose) == (False, True)
    assert (report.fraction_strict, report.fraction_loose) == (0.0, 1.0)


def test_strict_implies_loose() -> None:
    report = check_instructions([QUOTED, NO_COMMA], [{}, {}], "", '"a"\n, "b"')

    assert [verdict.strict for verdict in report.verdicts] == [True, False]
    assert [verdict.loose for verdict in report.verdicts] == [True, True]
    assert report.fraction_strict == 0.5


async def test_a_row_is_paid_for_all_or_by_fraction() -> None:
    half = row('"a, b"', QUOTED, NO_COMMA)

    assert (await grade_row(half)).value == 0.0
    assert (await grade_row(half, fraction=True)).value == 0.5
    assert (await grade_row(half)).detail == NO_COMMA
    assert (await grade_row(row('"a b"', QUOTED, NO_COMMA))).value == 1.0


async def test_thinking_is_not_graded() -> None:
    response = 'well, let me\n</think>\n\n"a b"'

    assert strip_thinking(response) == strip_thinking(response, "qwq") == '"a b"'
    assert (await grade_row(row(response, QUOTED, NO_COMMA))).value == 1.0
    assert (await grade_row(row(response, NO_COMMA), thinking="keep")).value == 0.0
    assert (await grade_row(row("<think>a thought that never ends", NO_COMMA))).value == 0.0


def test_qwqs_own_cut_is_at_the_first_end_of_thinking() -> None:
    text = "a\n</think>\n\nb\n</think>\n\nc"

    assert strip_thinking(text, "qwq") == "b\n</think>\n\nc"
    assert strip_thinking(text, "final") == "c"
    assert strip_thinking("no thinking", "qwq") == "no thinking"


async def test_a_text_of_no_language_is_not_paid_but_follows_in_ifeval() -> None:
    digits = row("12345", FRENCH)

    assert (await grade_row(digits)).value == 0.0
    assert (await grade_row(digits, rules="ifeval")).value == 1.0
    assert check_instructions([FRENCH], [{"language": "fr"}], "", "12345").prompt_strict is True


@pytest.mark.usefixtures("no_langdetect")
async def test_without_langdetect_a_language_is_undecided_and_never_wrong() -> None:
    undecided = await grade_row(row("Il fait beau.", FRENCH, NO_COMMA))
    wrong_anyway = await grade_row(row("Il fait beau, oui.", FRENCH, NO_COMMA))

    assert (undecided.value, undecided.reason) == (None, "undecided_language")
    assert wrong_anyway.value == 0.0
    assert (await grade_row(row("Oui, oui.", FRENCH, NO_COMMA), fraction=True)).value is None


def test_language_detection_gives_the_same_answer_every_time() -> None:
    text = "la casa no se vende"  # short enough for langdetect to waver when it is not seeded

    assert len({language.detect_language(text) for _ in range(20)}) == 1


MALFORMED = [
    {"response": None}, {"kwargs": []}, {"kwargs": [None]}, {"kwargs": None}, {"kwargs": {}},
    {"kwargs": [[]]}, {"kwargs": ["{}"]}, {"kwargs": [{}, {}]}, {"instruction_id_list": []},
    {"instruction_id_list": None}, {"instruction_id_list": NO_COMMA}, {"prompt": ["p"]},
    {"instruction_id_list": [None]}, {"instruction_id_list": [[NO_COMMA]]},
    {"instruction_id_list": ["\x1b[31m" + "x" * 10**6]}, {"kwargs": ["x" * 10**6]},
]  # fmt: skip


@pytest.mark.parametrize("broken", MALFORMED, ids=lambda broken: str(broken)[:40])
async def test_a_malformed_row_is_the_operators_mistake(broken: dict[str, object]) -> None:
    with pytest.raises(UsageError) as error:
        await grade_row({**row("a", NO_COMMA), **broken})

    assert str(error.value).isprintable()
    assert len(str(error.value)) < 2000


VALUES = [None, "3", True, -1, 1.5, math.nan, math.inf, [3], {}, "x" * 10**6]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:10])
async def test_a_parameter_that_is_none_names_the_instruction(value: object) -> None:
    words = "length_constraints:number_words"
    odd = {**row("a", words), "kwargs": [{"num_words": value, "relation": "at least"}]}
    with pytest.raises(UsageError, match=f"^{words}: num_words .*; expected ") as error:
        await grade_row(odd)

    assert len(str(error.value)) < 200


async def test_rules_have_a_name() -> None:
    with pytest.raises(UsageError, match=r"^rules: 'official'; expected 'ifeval' or 'reward'"):
        await grade_row(row("a", NO_COMMA), rules="official")
