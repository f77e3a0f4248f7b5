"""Where an answer stands in a response: tags, bold type, boxes. Linear in the length of the text.

LiveBench's judges look for these with lazy regular expressions and braces counted by hand. A
megabyte of opening tags would keep such an expression busy for hours, so the same is found here by
searching for the marks themselves.
"""

import re

__all__ = [
    "UnreadableBox",
    "between",
    "boxed_content",
    "edit_distance",
    "plain",
    "solutions",
    "without_thinking",
]

_OPEN, _CLOSE = "<solution>", "</solution>"
_BRACE = re.compile(r"[{}]")


class UnreadableBox(ValueError):
    """A box without braces where the official judge expects them; it gives up, and scores 0."""


def without_thinking(response: str) -> str:
    """The response without what stands between `<think>` and `</think>`, as officially.

    One that begins in the midst of a thought, because the template opened it, begins behind its
    end. A thought that never ends is read as the answer, as the official judge reads it.
    """
    kept, place = [], 0
    while (opening := response.find("<think>", place)) >= 0:
        closing = response.find("</think>", opening)
        if closing < 0:
            break
        kept.append(response[place:opening])
        place = closing + len("</think>")
    return "".join([*kept, response[place:]]).rpartition("</think>")[2]


def between(text: str, opening: str, closing: str, *, across_lines: bool = False) -> list[str]:
    """What stands between each opening mark and the next closing one, from left to right.

    The two stand on one line unless `across_lines`. A stretch begins behind the end of the one
    before it, so both marks may be the same.
    """
    found: list[str] = []
    end = -1
    start = text.find(opening)
    while start >= 0:
        begin = start + len(opening)
        if end < begin:
            end = text.find(closing, begin)
            if end < 0:
                break
        newline = -1 if across_lines else text.find("\n", begin, end)
        if newline < 0:
            found.append(text[begin:end])
            start = text.find(opening, end + len(closing))
        else:
            start = text.find(opening, newline)
    return found


def solutions(text: str, *, misspelt: bool = False, across_lines: bool = False) -> list[str]:
    """The contents of `<solution>` tags; `misspelt`: else those that begin with `</solution>`."""
    found = between(text, _OPEN, _CLOSE, across_lines=across_lines)
    if not found and misspelt:
        found = between(text, _CLOSE, _CLOSE, across_lines=across_lines)
    return found


def boxed_content(text: str) -> str | None:
    r"""What the last `\boxed{...}` (or `\fbox{...}`) holds; None without one that is closed.

    `\boxed ` with a space, anywhere, wins: what follows the last one up to a dollar. Raises
    `UnreadableBox` where something else than a brace follows.
    """
    if "\\boxed " in text:
        return text.rpartition("\\boxed ")[2].partition("$")[0]
    start = text.rfind("\\boxed")
    if start < 0:
        start = text.rfind("\\fbox")
    depth = 0
    for brace in _BRACE.finditer(text, start) if start >= 0 else ():
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            box = text[start : brace.end()].replace("$", "").replace("fbox", "boxed")
            if not box.startswith("\\boxed{"):
                raise UnreadableBox(box[:40])
            return box[len("\\boxed{") : -1]
    return None


def plain(box: str) -> str:
    r"""The content of a box without `\text{`, closing braces and backslashes."""
    return box.replace("\\text{", "").replace("}", "").replace("\\", "")


def edit_distance(first: list[int | None], second: list[int]) -> int:
    """Insertions, deletions and replacements that make one list the other (Levenshtein)."""
    row = list(range(len(second) + 1))
    for count, item in enumerate(first, start=1):
        diagonal, row[0] = row[0], count
        for place, other in enumerate(second, start=1):
            better = diagonal if item == other else 1 + min(diagonal, row[place], row[place - 1])
            diagonal, row[place] = row[place], better
    return row[-1]
