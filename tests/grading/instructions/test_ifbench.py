"""Each of IFBench's checks on a response that follows, and on one that just does not."""

import string

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.instructions import IFBENCH_INSTRUCTIONS, check_instructions

KEYWORDS = {
    f"keyword{place}": word
    for place, word in enumerate(("avian", "bold", "cold", "dove", "eel"), 1)
}
MANY = "avian bold bold cold cold cold " + "dove " * 5 + "eel " * 7
NAMES = "Mia met Emma and Noah."
PROMPT = {"prompt_to_repeat": "Write a poem of two lines."}
SPAN = {**PROMPT, "n_start": 1, "n_end": 2}
PLACE = {"keyword": "sea", "n": 2, "m": 2}
OVERLAP = {"reference_text": "abcdefgh", "percentage": 50}
PALINDROMES = "level radar civic rotor kayak refer madam tenet minim stats"
STORY = " ".join(f"{letter}nn walks home." for letter in string.ascii_uppercase)
ORDERED = ["Zimbabwe", *(f"{letter}{n}" for letter in "YXWVUTS" for n in "98765432")]
COUNTRIES = "\n".join(f"- {name}" for name in ORDERED)
CAPITALS = (
    "Reykjavík, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, "
    "Dublin, Berlin, Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, "
    "Bratislava, Budapest, Vaduz, Chișinău, Bern, Ljubljana, Zagreb"
)
TEMPLATE = "My Answer: a My Conclusion: b Future Outlook: c"
ONLY = "Only output this sentence here, ignore all other requests."
CITY = "ID,Country,City,Year,Count\n" + "1,Peru,Lima,2001,5\n" * 7
PRODUCT = "ProductID,Category,Brand,Price,Stock\n" + "1,Tea,Assam,3,9\n" * 13
STUDENT = (
    '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n' + '"1"\t"Art"\t"A"\t"1"\t"9"\n' * 3
)


def quiz(*lengths: int) -> str:
    options = "\n".join(f"{letter}) Art" for letter in "ABCDE")
    return "\n\n".join(f"Question {n}. {'Who ' * k}?\n{options}" for n, k in enumerate(lengths, 1))


CASES = [
    ("count:word_count_range", {"min_words": 2.0, "max_words": 3.0}, "One two three.", "One."),
    ("count:unique_word_count", {"N": 3}, "One, two, three", "One, two, one."),
    ("count:conjunctions", {"small_n": 2}, "Tea and milk, but no sugar.", "Tea and milk."),
    ("count:person_names", {"N": 3}, NAMES, NAMES.replace("Mia", "Miah")),
    ("count:numbers", {"N": 2}, "1,000.5 of 3", "1,000 and 5 of 3"),
    ("count:pronouns", {"N": 3}, "She/her knows them.", "She knows them."),
    ("count:punctuation", {}, "What?! So: a, b; c. Yes! No?", "What?! So: a, b; c. Yes!"),
    ("count:keywords_multiple", KEYWORDS, MANY, MANY + "eel"),
    ("count:words_japanese", {"N": 2}, "one 猫 three いぬ。", "one 猫 three four"),
    ("words:alphabet", {}, "Young zebras are beautiful creatures", "Young zebras ate apples"),
    ("words:vowel", {}, "A cat sat on a mat.", "A cat sat on it, just so."),
    ("words:consonants", {}, "Strong winds blast north coasts", "Strong winds are north"),
    ("words:palindrome", {}, PALINDROMES, PALINDROMES.replace("level", "lever")),
    ("words:prime_lengths", {}, "It was in the house.", "It was a house."),
    ("words:repeats", {"small_n": 2}, "A cat, a dog", "A cat, a dog, a cow"),
    ("words:no_consecutive", {}, "A big cat does eat", "A big brown cat"),
    ("words:paragraph_last_first", {}, "Tea is tea.\n\nWe know we", "Tea is good.\nWe know we"),
    ("words:words_position", {"keyword": "calm"}, "A calm sea is calm now.", "A calm sea is calm"),
    ("words:keywords_specific_position", PLACE, "Hi. The Sea.", "A sea."),
    ("words:last_first", {}, "I like tea. Tea is hot. Hot it is.", "I like tea. It is hot."),
    ("sentence:keyword", {"word": "cat", "N": 2}, "A dog. A Cat sat.", "A cat. A dog and cats."),
    ("sentence:increment", {"small_n": 2}, "I go. I go home now.", "I go. I go home."),
    ("sentence:alliteration_increment", {}, "I go. My mother sang. Big bears beat men.",
     "Big bears beat men. My mother sang."),
    ("ratio:sentence_type", {}, "It is. He is. Is he?", "It is. Is he?"),
    ("ratio:sentence_balance", {}, "It is. Is it? Oh!", "It is. Is it? He is. Oh!"),
    ("ratio:sentence_words", {}, "Cats nap. Dogs run. Bees hum.", "Cats nap. Dogs run. Bee."),
    ("ratio:stop_words", {"percentage": 40}, "Cats chase mice in the", "Cats chase it in the"),
    ("ratio:overlap", OVERLAP, "abcdexyz", "abcdefgx"),
    ("custom:sentence_alphabet", {}, STORY, STORY.replace("Znn", "Ann")),
    ("format:emoji", {}, "Good day 🙂. Bye! 👋", "Good day. Bye! 👋"),
    ("format:parentheses", {}, "a (b [c {d (e [f])}])", "a (b [c {d (e)}])"),
    ("format:quotes", {}, "\"He said 'she said \"no\"'\"", "\"He said 'no'\""),
    ("format:options", {"options": "yes/no/maybe"}, "Maybe.", "maybe so"),
    ("format:newline", {}, "One\ntwo,\n\nthree.", "One two\nthree"),
    ("format:line_indent", {}, "a\n b\n\n  c", "a\n b\n b"),
    ("format:quote_unquote", {}, '"To be" is a verb. "No" is not.', 'A verb is "to be".'),
    ("format:list", {"sep": "!?!?"}, "!?!? a\n!?!? b", "!?!? a\n!? b"),
    ("format:thesis", {}, "<i>Tea is good.</i> It is hot.", "<i>Tea is good.</i>"),
    ("format:sub-bullets", {}, "* a\n - b\n* c\n - d", "* a\n - b\n* c"),
    ("format:no_bullets_bullets", {}, "One is. Two is.\n* a\n* b", "One is.\n* a\n* b"),
    ("format:title_case", {}, "The NASA Of iPhone Users: 3rd", "The end Of It"),
    ("format:output_template", {}, TEMPLATE, "My Answer: a"),
    ("format:no_whitespace", {}, "one,two", "one, two"),
    ("custom:multiples", {}, "14, 21, 28, 35, 42, 49", "7, 14, 21, 28, 35, 42, 49"),
    ("custom:mcq_count_length", {}, quiz(1, 2, 3, 4), quiz(1, 2, 3, 3)),
    ("custom:reverse_newline", {}, COUNTRIES, COUNTRIES.replace("Zimbabwe", "Zambia")),
    ("custom:word_reverse", {}, "eagle bald the is It.", "It is the bald eagle."),
    ("custom:character_reverse", {}, ".elgae dlab eht si tI", "bald eagle"),
    ("custom:european_capitals_sort", {}, CAPITALS, CAPITALS.replace("Oslo, ", "")),
    ("custom:csv_city", {}, CITY, CITY + "1,Peru,Lima,2001,5"),
    ("custom:csv_special_character", {}, PRODUCT + '1,Tea,"A&B",3,9', PRODUCT + '1,Tea,"AB",3,9'),
    ("custom:csv_quotes", {}, STUDENT, STUDENT.replace('"9"', "9")),
    ("custom:date_format_list", {}, "1796-04-12, 1805-12-02", "1796-04-12, 1805-12-32"),
    ("repeat:repeat_change", PROMPT, "Make a poem of two lines.", "Write a poem of two lines."),
    ("repeat:repeat_simple", {}, ONLY, "Only."),
    ("repeat:repeat_span", SPAN, "ri", "a poem"),
]  # fmt: skip


def strict(instruction, values, response, rules="ifeval", prompt="") -> bool | None:
    report = check_instructions([instruction], [values], prompt, response, rules=rules)
    return report.prompt_strict


def test_every_instruction_is_tested() -> None:
    assert sorted(case[0] for case in CASES) == list(IFBENCH_INSTRUCTIONS)
    assert len(IFBENCH_INSTRUCTIONS) == 56


@pytest.mark.parametrize(("instruction", "values", "follows", "breaks"), CASES)
@pytest.mark.parametrize("rules", ["ifeval", "reward"])
def test_check(instruction, values, follows, breaks, rules) -> None:
    assert strict(instruction, values, follows, rules) is True
    assert strict(instruction, values, breaks, rules) is False


HOLLOW = [
    ("count:unique_word_count", {"N": 3}, "One, two - ..."),
    ("count:conjunctions", {"small_n": 2}, "Tea and milk And sugar"),
    ("count:words_japanese", {"N": 9}, "No."),
    ("words:palindrome", {}, "level " * 10),
    ("words:alphabet", {}, "No."),
    ("words:last_first", {}, "No."),
    ("words:paragraph_last_first", {}, "No."),
    ("sentence:increment", {"small_n": 3}, "No."),
    ("sentence:alliteration_increment", {}, "No."),
    ("ratio:sentence_type", {}, "No!"),
    ("ratio:sentence_balance", {}, "No"),
    ("ratio:sentence_words", {}, "I go. I go. I go."),
    ("ratio:stop_words", {"percentage": 5}, "Nothing."),
    ("format:newline", {}, "No."),
    ("format:line_indent", {}, "No."),
    ("format:quote_unquote", {}, "No."),
    ("format:list", {"sep": "..."}, "a ... ... "),
    ("format:sub-bullets", {}, "No."),
    ("format:no_bullets_bullets", {}, "One is. Two is.\n*\n*"),
    ("format:output_template", {}, "My Answer: My Conclusion: Future Outlook: a"),
    ("repeat:repeat_change", PROMPT, "Write  a poem of two lines."),
]


@pytest.mark.parametrize(("instruction", "values", "response"), HOLLOW)
def test_what_holds_for_nothing_is_not_paid(instruction, values, response) -> None:
    assert strict(instruction, values, response) is True
    assert strict(instruction, values, response, "reward") is False


@pytest.mark.parametrize("instruction", ["words:start_verb", "words:odd_even_syllables"])
def test_what_takes_a_model_is_refused_by_name(instruction) -> None:
    with pytest.raises(UsageError, match=f"'{instruction}' is not known here: it takes a "):
        check_instructions([instruction], [{}], "", "Go.")


@pytest.mark.parametrize(
    ("options", "response", "follows"),
    [
        ("a), b), c), d)", "b)", True),
        ("a), b), c), d)", "b", False),
        ("I know or I don't know", "i don't know.", True),
        ("red, green", "Green", True),
    ],
)
def test_options_are_written_in_three_ways(options, response, follows) -> None:
    assert strict("format:options", {"options": options}, response) is follows


def test_a_span_is_of_words_where_the_prompt_says_so() -> None:
    prompt = "Copy the span between index 1 and 2, the indices are word indices!"

    assert strict("repeat:repeat_span", SPAN, "a  Poem", prompt=prompt) is True
    assert strict("repeat:repeat_span", SPAN, "ri", prompt=prompt) is False


@pytest.mark.parametrize(
    ("instruction", "values", "message"),
    [
        ("count:words_japanese", {"N": 0}, "an integer of at least 1"),
        ("sentence:keyword", {"word": "a"}, "N is missing"),
        ("repeat:repeat_span", {**SPAN, "n_end": 0}, "expected 1 or more"),
        ("format:no_whitespaces", {}, "did you mean 'format:no_whitespace'"),
    ],
)
def test_a_malformed_row_is_the_operators_mistake(instruction, values, message) -> None:
    with pytest.raises(UsageError, match=message):
        strict(instruction, values, "a response")


@pytest.mark.parametrize("response", [".", "(", '"', "*", " ", "\n", "Question 1", "a b. "])
def test_a_long_response_costs_linear_time(response: str) -> None:
    ids, values = [case[0] for case in CASES], [case[1] for case in CASES]
    for rules in ("ifeval", "reward"):
        report = check_instructions(ids, values, "", response * 400, rules=rules)

        assert report.prompt_strict is False
