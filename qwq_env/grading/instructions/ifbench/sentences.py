"""IFBench's instructions about sentences, and about shares of a text."""

import re
from itertools import groupby, pairwise

from qwq_env.grading.instructions.ifbench.words import PUNCTUATION, plain_words
from qwq_env.grading.instructions.sentences import split_sentences
from qwq_env.grading.instructions.settings import Settings
from qwq_env.grading.instructions.words import treebank_words

__all__ = ["CHECKS", "kinds"]

_TOLERANCE = 2
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EMOJI = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u24c2"
    "\u25aa-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f004\U0001f0cf\U0001f170-\U0001f251\U0001f300-\U0001faff]"
)
_STOP_WORDS = """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
    her hers herself it its itself they them their theirs themselves what which who whom this that
    these those a an the all any both each few more most other some such no own same
    am is are was were be been being have has had having do does did doing can will should
    and but if or because as until while of at by for with about against between into through
    during before after above below to from up down in out on off over under than nor
    again further then once here there when where why how not only so too very just now
    s t d m o y ll re ve ma ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn
    shan shouldn wasn weren won wouldn
"""
"""Pronouns, determiners, verbs that help, conjunctions, prepositions, adverbs that say little, and
what is left of contractions where the apostrophe cuts them."""


def keyword(settings: Settings, response: str) -> bool:
    """`word` stands in the `N`th sentence, as a word, in any case."""
    place = settings.number("N", least=1)
    word = re.escape(settings.text("word"))
    found = _sentences(settings, response)[place - 1 : place]
    return any(re.search(rf"\b{word}\b", sentence, re.IGNORECASE) for sentence in found)


def keywords_specific_position(settings: Settings, response: str) -> bool:
    """The `m`th word of the `n`th sentence is `keyword`, in any case."""
    sentence, place = settings.number("n", least=1), settings.number("m", least=1)
    wanted = settings.text("keyword").strip().lower()
    found = _sentences(settings, response)[sentence - 1 : sentence]
    words = [
        word
        for text in found
        for word in treebank_words(text, settings.knowledge)
        if any(map(str.isalnum, word))
    ]
    return [word.lower() for word in words[place - 1 : place]] == [wanted]


def increment(settings: Settings, response: str) -> bool:
    """Each sentence has `small_n` words more than the one before."""
    counts = [len(plain_words(sentence)) for sentence in _sentences(settings, response)]
    step = settings.number("small_n")
    return all(after - before == step for before, after in pairwise(counts))


def alliteration_increment(settings: Settings, response: str) -> bool:
    """Each sentence has more words in runs of one first letter than the one before."""
    counts = [_alliteration(sentence) for sentence in _sentences(settings, response)]
    return all(after > before for before, after in pairwise(counts))


def _alliteration(sentence: str) -> int:
    words = filter(None, (word.lstrip(PUNCTUATION) for word in sentence.lower().split()))
    runs = (len(list(run)) for _, run in groupby(word[0] for word in words))
    return sum(length for length in runs if length > 1)


def last_first(settings: Settings, response: str) -> bool:
    """Each sentence begins with the last word of the one before."""
    sentences = [
        sentence.strip(PUNCTUATION + " ").lower().split()
        for sentence in _sentences(settings, response)
    ]
    return all(
        bool(before and after) and before[-1] == after[0].rstrip(PUNCTUATION)
        for before, after in pairwise(sentences)
    )


def sentence_type(settings: Settings, response: str) -> bool:
    """Twice as many sentences end with a period as with a question mark."""
    stated, asked, _ = kinds(settings, response)
    return stated == 2 * asked


def sentence_balance(settings: Settings, response: str) -> bool:
    """As many sentences end with a period as with a question or an exclamation mark."""
    stated, asked, exclaimed = kinds(settings, response)
    return stated == asked == exclaimed


def kinds(settings: Settings, response: str) -> tuple[int, int, int]:
    """How many sentences end with a period, a question mark, an exclamation mark."""
    ends = [sentence[-1] for sentence in _sentences(settings, response)]
    return ends.count("."), ends.count("?"), ends.count("!")


def sentence_words(settings: Settings, response: str) -> bool:
    """Three sentences, all of the same number of characters."""
    lengths = [len(sentence) for sentence in _sentences(settings, response)]
    return len(lengths) == 3 and len(set(lengths)) == 1


def stop_words(settings: Settings, response: str) -> bool:
    """At most `percentage` of the words are among the commonest of English."""
    most = settings.number("percentage")
    known = set(_STOP_WORDS.split())
    words = re.findall(r"\w+", response.lower())
    return bool(words) and 100 * sum(word in known for word in words) <= most * len(words)


def overlap(settings: Settings, response: str) -> bool:
    """`percentage` of the response's runs of three characters are in `reference_text`, give or
    take two.
    """
    wanted, reference = settings.number("percentage"), settings.text("reference_text")
    ours, theirs = _trigrams(response), _trigrams(reference)
    shared = 100 * len(ours & theirs)
    return bool(ours) and abs(shared - wanted * len(ours)) <= _TOLERANCE * len(ours)


def _trigrams(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(len(text) - 2)}


def sentence_alphabet(settings: Settings, response: str) -> bool:
    """26 sentences that begin with the letters from A to Z."""
    return [sentence[0].lower() for sentence in _sentences(settings, response)] == list(_LETTERS)


def emoji(settings: Settings, response: str) -> bool:
    """An emoji stands at the end of each sentence, or behind its mark."""
    ends = [_unmarked(sentence) for sentence in _sentences(settings, response)]
    pairs = pairwise([*ends, ""])
    return all(ends) and all(
        _EMOJI.search(text[-2:]) or _EMOJI.match(following) for text, following in pairs
    )


def _unmarked(text: str) -> str:
    return "".join(letter for letter in text if letter not in PUNCTUATION).strip()


def _sentences(settings: Settings, response: str) -> list[str]:
    return split_sentences(response.strip(), settings.knowledge)


CHECKS = {
    "sentence:keyword": keyword,
    "sentence:increment": increment,
    "sentence:alliteration_increment": alliteration_increment,
    "words:keywords_specific_position": keywords_specific_position,
    "words:last_first": last_first,
    "ratio:sentence_type": sentence_type,
    "ratio:sentence_balance": sentence_balance,
    "ratio:sentence_words": sentence_words,
    "ratio:stop_words": stop_words,
    "ratio:overlap": overlap,
    "custom:sentence_alphabet": sentence_alphabet,
    "format:emoji": emoji,
}
