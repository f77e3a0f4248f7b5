"""IFBench's instructions about words: how many, which letters, how long, where, how often.

A word is what stands between spaces, without ASCII punctuation, unless a check says otherwise.
"""

import re
import string
from collections import Counter
from itertools import pairwise

from qwq_env.grading.instructions.settings import Settings
from qwq_env.grading.instructions.words import count_words, treebank_words

__all__ = ["CHECKS", "CONJUNCTIONS", "PUNCTUATION", "palindromes", "plain_words"]

PUNCTUATION = string.punctuation
_REMOVED = str.maketrans("", "", PUNCTUATION)
_VOWELS = frozenset("aeiou")
_CLUSTER = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_PART = re.compile(r"\w[\w'’-]*|[^\w\s]")
_PRIMES = frozenset(n for n in range(2, 98) if all(n % factor for factor in range(2, n)))
_LEAST_PALINDROMES, _PALINDROME = 10, 5
_TIMES = (1, 2, 3, 5, 7)
CONJUNCTIONS = frozenset({"for", "and", "nor", "but", "or", "yet", "so"})
_NAMES = """
    Abigail Alexander Amelia Andrew Aria Audrey Ava Benjamin Charlotte Chloe Christopher Claire
    Daniel David Elijah Ella Emma Ethan Gabriel Grace Hannah Harper Isabella Jackson Jacob Jonathan
    Joseph Layla Leo Liam Lily Lucas Mason Matthew Mia Nathan Nicholas Noah Nora Olivia Owen
    Penelope Ryan Samuel Scarlett Sophia Stella Thomas Victoria Zoe
"""
_PRONOUNS = """
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his
    himself she her hers herself it its itself they them their theirs themselves this that these
    those who whom whose which what whoever whomever whatever whichever anybody anyone anything
    everybody everyone everything nobody nothing somebody someone something each either neither
    both all some any none
"""


def plain_words(text: str) -> list[str]:
    """The words of `text`, in small letters and without any punctuation, within them too."""
    return text.lower().translate(_REMOVED).split()


def palindromes(text: str) -> list[str]:
    """The words of `text` of five letters or more that read the same backwards."""
    return [w for w in plain_words(text) if len(w) >= _PALINDROME and w == w[::-1]]


def word_count_range(settings: Settings, response: str) -> bool:
    """From `min_words` to `max_words` words, as IFEval counts them."""
    return settings.number("min_words") <= count_words(response) <= settings.number("max_words")


def unique_word_count(settings: Settings, response: str) -> bool:
    """At least `N` different words, in any case, without punctuation around them."""
    different = {word.strip(PUNCTUATION) for word in response.lower().split()}
    return len(different) >= settings.number("N")


def conjunctions(settings: Settings, response: str) -> bool:
    """At least `small_n` coordinating conjunctions, each way of writing one counted once."""
    found = {word for word in response.split() if word.strip(PUNCTUATION).lower() in CONJUNCTIONS}
    return len(found) >= settings.number("small_n")


def person_names(settings: Settings, response: str) -> bool:
    """At least `N` different names of the fifty on the benchmark's list."""
    return len(set(_NAMES.split()).intersection(re.findall(r"\w+", response))) >= settings.number(
        "N"
    )


def numbers(settings: Settings, response: str) -> bool:
    """Exactly `N` numbers; what punctuation divides is one: `1,000.5`."""
    found = re.findall(r"\d+", response.translate(_REMOVED))
    return len(found) == settings.number("N")


def pronouns(settings: Settings, response: str) -> bool:
    """At least `N` pronouns, those joined by strokes counted one by one."""
    text = response.lower().replace("/", " ")
    known = set(_PRONOUNS.split())
    found = sum(word in known for word in treebank_words(text, settings.knowledge))
    return found >= settings.number("N")


def punctuation(settings: Settings, response: str) -> bool:
    """An interrobang (`?!`, `!?`, `‽`), and besides it each of `. , ! ? ; :`."""
    mark = next((mark for mark in ("?!", "!?", "‽") if mark in response), None)
    return mark is not None and set(".,!?;:") <= set(response.replace(mark, "", 1))


def keywords_multiple(settings: Settings, response: str) -> bool:
    """`keyword1` to `keyword5` occur once, twice, and 3, 5 and 7 times, in longer words too."""
    text = response.lower()
    words = [settings.text(f"keyword{place}").strip().lower() for place in range(1, 6)]
    return all(text.count(word) == times for word, times in zip(words, _TIMES, strict=True))


def words_japanese(settings: Settings, response: str) -> bool:
    """Every `N`th word, numbers aside, has a character of Japanese writing."""
    step = settings.number("N", least=1)
    places = [word.strip(PUNCTUATION) for word in response.split()[step - 1 :: step]]
    return all(not word or word.isdigit() or bool(_JAPANESE.search(word)) for word in places)


def alphabet(settings: Settings, response: str) -> bool:
    """Each word begins with the letter after that of the word before; `a` follows `z`."""
    first = [string.ascii_lowercase.find(word[0]) for word in plain_words(response)]
    return (
        bool(first)
        and min(first) >= 0
        and all((here + 1) % 26 == after for here, after in pairwise(first))
    )


def vowel(settings: Settings, response: str) -> bool:
    """One paragraph, of one line, in which at most three of the five vowels occur."""
    text = response.strip().lower()
    return "\n" not in text and len(_VOWELS.intersection(text)) <= 3


def consonants(settings: Settings, response: str) -> bool:
    """Each word has two consonants side by side (`y` is one)."""
    return all(_CLUSTER.search(word) for word in response.lower().split())


def palindrome(settings: Settings, response: str) -> bool:
    """At least ten words of five letters or more read the same backwards."""
    return len(palindromes(response)) >= _LEAST_PALINDROMES


def prime_lengths(settings: Settings, response: str) -> bool:
    """The length of each word is a prime below 100."""
    return all(len(word) in _PRIMES for word in response.translate(_REMOVED).split())


def repeats(settings: Settings, response: str) -> bool:
    """No word occurs more than `small_n` times."""
    return max(Counter(plain_words(response)).values(), default=0) <= settings.number("small_n")


def no_consecutive(settings: Settings, response: str) -> bool:
    """No word begins with the letter that the word before begins with."""
    return all(here[0] != after[0] for here, after in pairwise(plain_words(response)))


def paragraph_last_first(settings: Settings, response: str) -> bool:
    """Each line ends with the word that it begins with."""
    lines = [line.strip().strip(PUNCTUATION + " ").split() for line in response.lower().split("\n")]
    return all(words[0] == words[-1] for words in lines if words)


def words_position(settings: Settings, response: str) -> bool:
    """The second word is `keyword`, and so is the last but one; a mark is a word, but for a last
    one.
    """
    parts = _PART.findall(response.lower())
    if parts and parts[-1] in PUNCTUATION:
        parts.pop()
    keyword = settings.text("keyword").strip().lower()
    return len(parts) > 1 and parts[1] == parts[-2] == keyword


CHECKS = {
    "count:word_count_range": word_count_range,
    "count:unique_word_count": unique_word_count,
    "count:conjunctions": conjunctions,
    "count:person_names": person_names,
    "count:numbers": numbers,
    "count:pronouns": pronouns,
    "count:punctuation": punctuation,
    "count:keywords_multiple": keywords_multiple,
    "count:words_japanese": words_japanese,
    "words:alphabet": alphabet,
    "words:vowel": vowel,
    "words:consonants": consonants,
    "words:palindrome": palindrome,
    "words:prime_lengths": prime_lengths,
    "words:repeats": repeats,
    "words:no_consecutive": no_consecutive,
    "words:paragraph_last_first": paragraph_last_first,
    "words:words_position": words_position,
}
