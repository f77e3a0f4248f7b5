"""LiveBench's language tasks: connections, plot_unscrambling, typos.

For evaluation only. Connections and typos can be gamed: of the older connections every bold list is
tried and the best one counts, and a text with typos is right when it merely contains the corrected
one, so a response may hold many versions. Plot_unscrambling pays for sentences that are somewhere
near those of the plot, in any number and with anything between them.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from qwq_env.grading.livebench.extract import (
    between,
    boxed_content,
    edit_distance,
    plain,
    solutions,
)
from qwq_env.grading.livebench.reasoning import TAGS_SINCE
from qwq_env.grading.score import Score

__all__ = ["connections", "plot_unscrambling", "typos"]

_GROUP = 4
_LONGEST_SENTENCE = 10_000
_APART = " --- "
_PLOT_OPEN, _PLOT_CLOSE = "<PLOT_SUMMARY>", "</PLOT_SUMMARY>"
_NO_SENTENCES = ("", _PLOT_CLOSE, "**End of Plot Summary**")


def connections(question: Mapping[str, Any], answer: str) -> Score:
    """Words in groups of four: the share of the groups that are found.

    Read from the solution tags, joined and counted from the end, else from a box. Questions
    released before the tags were asked for are read from bold type, and the best list counts.
    """
    reference = question["ground_truth"].split(",")
    groups = _groups(reference)
    if question["livebench_release_date"] < TAGS_SINCE:
        lists = [words.split(",") for words in between(answer.replace("\n", ""), "**", "**")]
        found = max((_found_in_bold(groups, _groups(words)) for words in lists), default=None)
    else:
        words = _claimed_words(answer, len(reference))
        found = None if words is None else sum(group in groups for group in _groups(words))
    if found is None:
        return Score.wrong("no_answer")
    # A right group that is given twice counts twice, but no score is above 1 for that.
    if found >= len(groups):
        return Score.right()
    return Score.partial(found / len(groups), "different", f"{found} of {len(groups)} groups")


def _groups(words: Sequence[str]) -> list[set[str]]:
    """Each set is filled until it holds four; a word that it holds already takes no place."""
    groups: list[set[str]] = [set()]
    for word in words:
        if len(groups[-1]) == _GROUP:
            groups.append(set())
        groups[-1].add(word.strip().lower())
    return groups


def _found_in_bold(groups: list[set[str]], claimed: list[set[str]]) -> int:
    return sum(any(group <= other for other in claimed) for group in groups)


def _claimed_words(answer: str, wanted: int) -> list[str] | None:
    found = solutions(answer) or solutions(answer.replace("\n", ""))
    found = found or solutions(answer, misspelt=True)
    found = found or solutions(answer.replace("\n", ""), misspelt=True)
    if not found and "\\boxed" in answer:
        box = boxed_content(answer)
        found = [] if box is None else [plain(box)]
    if not found:
        return None
    words = ",".join(found).replace("\n", "").split(",")
    return words[-wanted:] if len(found) > 1 else words


def plot_unscrambling(question: Mapping[str, Any], answer: str) -> Score:
    """Sentences in order: 1 less the edit distance over the number of sentences.

    Sentences end at full stops. Each of the plot's is looked for among those of the summary, the
    nearest one whatever its distance, and their places are compared with the right order.
    """
    reference = _sentences(question["ground_truth"], ("",))
    sentences = _sentences(_summary(answer), _NO_SENTENCES)
    at = {sentence: place for place, sentence in reversed(list(enumerate(sentences)))}
    places: list[int | None] = [at[_nearest(one, at)] for one in reference] if at else []
    distance = edit_distance(places, list(range(len(reference))))
    if distance == 0:
        return Score.right()
    value = 1 - distance / len(reference)
    return Score.partial(value, "different" if places else "no_answer", f"distance {distance}")


def _nearest(sentence: str, candidates: Collection[str]) -> str:
    """The candidate of the largest ratio to `sentence`; of several, the last by the alphabet.

    It is the first that difflib's `get_close_matches` gives without a cutoff, found without the
    ratios of those whose upper bound is too small.
    """
    if sentence in candidates:
        return sentence
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(sentence)
    best = (-1.0, "")
    for candidate in candidates:
        ratio = 0.0
        if len(candidate) <= _LONGEST_SENTENCE:
            matcher.set_seq1(candidate)
            if matcher.real_quick_ratio() < best[0] or matcher.quick_ratio() < best[0]:
                continue
            ratio = matcher.ratio()
        best = max(best, (ratio, candidate))
    return best[1]


def _summary(answer: str) -> str:
    """What stands between the tags, the last closing one; without it, all after the opening one."""
    start = answer.find(_PLOT_OPEN)
    if start < 0:
        return answer
    rest = answer[start + len(_PLOT_OPEN) :]
    end = rest.rfind(_PLOT_CLOSE)
    return rest if end < 0 else rest[:end]


def _sentences(text: str, left_out: tuple[str, ...]) -> list[str]:
    return [part for piece in text.split(".") if (part := piece.strip()) not in left_out]


def typos(question: Mapping[str, Any], answer: str) -> Score:
    """The corrected text stands, to the letter, in the last solution tag.

    Without tags it is looked for in what stands between ` --- ` marks, else in all of the response.
    Line breaks count as spaces.
    """
    tagged = solutions(answer)
    if tagged:
        text = tagged[-1]
    else:
        text = _between_dashes(answer.replace("<solution>", "").replace("</solution>", ""))
    text = " ".join(line for line in text.strip().split("\n") if line)
    return Score.right() if question["ground_truth"] in text else Score.wrong("different")


def _between_dashes(text: str) -> str:
    """What stands between the last two ` --- ` of the first line that has two of them."""
    for line in text.split("\n"):
        last = line.rfind(_APART)
        opening = line.rfind(_APART, 0, max(last, 0))
        if opening >= 0:
            begin = opening + len(_APART)
            return line[begin : line.find(_APART, begin)]
    return text
