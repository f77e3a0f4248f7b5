"""Where sentences end, with the knowledge that is built in and with a model's files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.grading.instructions import BUILT_IN, read_knowledge, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["One.", "Two?", "Three!", "And four"],
        ["Dr. J. R. Smith of Acme Corp. left."],
        ["It is 3.5 km on Jan. 5 to St. Mary's.", "Go."],
        ['She said "No."', "Then she left."],
        ["(It rained.)", "We stayed."],
        ["Wait... maybe not."],
        ["The U.N. met in the U.S. capital.", "It ended."],
        ["Really?!", "Yes!!!", "No."],
        ["It is 10% of π. I think so."],
        ["no mark at all"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences), BUILT_IN) == sentences


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_blank_text_has_no_sentence(text: str) -> None:
    assert split_sentences(text, BUILT_IN) == []


@given(st.text(alphabet=" .?!\n\"')(aBéЖ1,-…”", max_size=60))
def test_sentences_are_the_text_in_order(text: str) -> None:
    position = 0
    for sentence in split_sentences(text, BUILT_IN):
        position = text.index(sentence, position) + len(sentence)

        assert sentence

    assert not text[position:].strip()


def test_a_models_files_replace_what_is_built_in(tmp_path: Path) -> None:
    (tmp_path / "abbrev_types.txt").write_text("blub\n")
    (tmp_path / "sent_starters.txt").write_text("the\n")
    (tmp_path / "collocations.tab").write_text("x\ty\n")
    (tmp_path / "ortho_context.tab").write_text("mill\t32\n")
    knowledge = read_knowledge(tmp_path)

    assert split_sentences("A blub. Smith left.", knowledge) == ["A blub. Smith left."]
    assert len(split_sentences("A blub. The end.", knowledge)) == 2
    assert len(split_sentences("A blub. Mill on.", knowledge)) == 2


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"collocations\.tab"):
        read_knowledge(tmp_path)
