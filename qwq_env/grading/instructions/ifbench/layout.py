"""IFBench's instructions about the form of a response."""

import re
from itertools import pairwise

from qwq_env.grading.instructions.ifbench.words import PUNCTUATION
from qwq_env.grading.instructions.sentences import split_sentences
from qwq_env.grading.instructions.settings import Settings
from qwq_env.grading.instructions.words import treebank_words

__all__ = ["CHECKS", "LABELS"]

_PAIRS = {")": "(", "]": "[", "}": "{"}
_DEPTH, _QUOTES = 5, 3
_ITALICS = re.compile(r"<(?:i|em)>")
_ITALICS_END = re.compile(r"</(?:i|em)>")
_LETTERED = re.compile(r"\W*a\W*b\W*c", re.IGNORECASE)
_NOT_QUOTES = PUNCTUATION.replace('"', "") + "0123456789"
LABELS = ("My Answer:", "My Conclusion:", "Future Outlook:")


def parentheses(settings: Settings, response: str) -> bool:
    """Brackets, each closed by its own kind, are nested five deep."""
    opened: list[str] = []
    deep = False
    for character in response:
        if character in "([{":
            opened.append(character)
            deep = deep or len(opened) >= _DEPTH
        elif character in ")]}":
            if not opened or opened[-1] != _PAIRS[character]:
                opened, deep = [], False
                continue
            opened.pop()
            if deep:
                return True
    return False


def quotes(settings: Settings, response: str) -> bool:
    """Quotes of the two kinds by turns are nested three deep, and closed."""
    opened: list[str] = []
    deepest = 0
    for character in response:
        if opened and character == opened[-1]:
            opened.pop()
            if deepest - len(opened) >= _QUOTES:
                return True
        elif character in "\"'":
            opened.append(character)
            deepest = max(deepest, len(opened))
    return False


def options(settings: Settings, response: str) -> bool:
    """The response is one of `options`, divided by `/`, "or" or commas.

    Options that are letters have to be written as they are; for others case and the marks around
    them do not count.
    """
    asked = settings.text("options")
    divider = next((divider for divider in ("/", "or") if divider in asked), ",")
    choices = [choice.strip() for choice in asked.split(divider)]
    if _LETTERED.match(asked):
        return response in choices
    bare = [choice.strip(PUNCTUATION + " ").lower() for choice in choices]
    return response.strip(PUNCTUATION + " ").lower() in bare


def newline(settings: Settings, response: str) -> bool:
    """Each word stands on a line of its own."""
    text = "".join(letter for letter in response if letter not in PUNCTUATION).strip()
    return len([line for line in text.split("\n") if line]) == len(text.split())


def line_indent(settings: Settings, response: str) -> bool:
    """Each line, blank ones aside, begins with more spaces than the one before."""
    indents = [len(line) - len(line.lstrip(" ")) for line in response.split("\n") if line.strip()]
    return all(before < after for before, after in pairwise(indents))


def quote_unquote(settings: Settings, response: str) -> bool:
    """No quote follows another one, and none ends the response."""
    text = re.sub("[“”]", '"', response).replace("'\"'", "")
    text = "".join(text.split())
    return '""' not in text and not text.strip(_NOT_QUOTES).endswith('"')


def list_items(settings: Settings, response: str) -> bool:
    """`sep` occurs twice or more."""
    return response.count(settings.text("sep")) >= 2


def thesis(settings: Settings, response: str) -> bool:
    """A text in HTML's italics, not blank, has more text behind it."""
    begin = _ITALICS.search(response)
    end = begin and _ITALICS_END.search(response, begin.end())
    if not begin or not end:
        return False
    return bool(response[begin.end() : end.start()].strip() and response[end.end() :].strip())


def sub_bullets(settings: Settings, response: str) -> bool:
    """Behind each `*` there is a `-` before the next."""
    return all("-" in bullet for bullet in response.split("*")[1:])


def no_bullets_bullets(settings: Settings, response: str) -> bool:
    """Two sentences or more, then two lines or more that begin with `*`, and nothing else."""
    lines = [line.strip() for line in response.split("\n")]
    bullets = [line.startswith("*") for line in lines]
    first = bullets.index(True) if True in bullets else len(lines)
    sentences = sum(len(split_sentences(line, settings.knowledge)) for line in lines[:first])
    return sentences >= 2 and len(bullets[first:]) >= 2 and all(bullets[first:])


def title_case(settings: Settings, response: str) -> bool:
    """No word begins with a small letter, but those of letters in both cases."""
    return all(_is_title(word) for word in treebank_words(response, settings.knowledge))


def _is_title(word: str) -> bool:
    first, rest = word[0], word[1:]
    if not first.isalpha() or not first.islower():
        return True
    return bool(rest) and not rest.islower() and not rest.isupper()


def output_template(settings: Settings, response: str) -> bool:
    """The three labels of the template occur."""
    return all(label in response for label in LABELS)


def no_whitespace(settings: Settings, response: str) -> bool:
    """There is no space of any kind."""
    return not any(map(str.isspace, response))


CHECKS = {
    "format:parentheses": parentheses,
    "format:quotes": quotes,
    "format:options": options,
    "format:newline": newline,
    "format:line_indent": line_indent,
    "format:quote_unquote": quote_unquote,
    "format:list": list_items,
    "format:thesis": thesis,
    "format:sub-bullets": sub_bullets,
    "format:no_bullets_bullets": no_bullets_bullets,
    "format:title_case": title_case,
    "format:output_template": output_template,
    "format:no_whitespace": no_whitespace,
}
