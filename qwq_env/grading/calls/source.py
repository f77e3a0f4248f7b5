"""Java and JavaScript source as text: calls, elements, literals.

BFCL's Java and JavaScript rows give every argument as a piece of source. Only the shape is read
here (quotes, brackets, commas); identifiers and expressions stay the text that they are.
"""

from collections.abc import Iterator

from qwq_env.grading.calls.call import Call, NoCalls, UnreadableCall

__all__ = ["parse_source_calls", "split_top_level", "unquote"]

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`"


def split_top_level(text: str, separator: str) -> list[str]:
    """The pieces of `text` between separators outside quotes and brackets, stripped.

    The empty text has no pieces. Raises ValueError if quotes or brackets do not match.
    """
    pieces: list[str] = []
    start = 0
    for position in _top_level(text):
        if text[position] == separator:
            pieces.append(text[start:position].strip())
            start = position + 1
    pieces.append(text[start:].strip())
    return [] if pieces == [""] else pieces


def _top_level(text: str) -> Iterator[int]:
    """The positions of characters outside quotes and brackets."""
    closing: list[str] = []
    quote = ""
    escaped = False
    for position, character in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in _QUOTES:
            quote = character
        elif character in _PAIRS:
            closing.append(_PAIRS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character in ")]}":
            raise ValueError(f"{character} at {position} closes nothing")
        elif not closing:
            yield position
    if quote or closing:
        raise ValueError("a quote or bracket is not closed")


def unquote(text: str, quotes: str = "\"'") -> str:
    """The content of a string literal, or the text itself if it is none."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in quotes:
        return text[1:-1]
    return text


def parse_source_calls(text: str) -> list[Call]:
    """The calls of `[Name.method(a=1, b="x"), ...]`, each argument a piece of source.

    String and character literals lose their quotes. Raises NoCalls for a text of another shape,
    UnreadableCall for an argument without a name or given twice.
    """
    stripped = text.strip()
    if stripped.startswith("[") and stripped.endswith("]"):
        stripped = stripped[1:-1]
    try:
        return [_parse_call(piece) for piece in split_top_level(stripped, ",")]
    except ValueError:
        raise NoCalls("the text is not a list of calls") from None


def _parse_call(text: str) -> Call:
    name, parenthesis, rest = text.partition("(")
    if not parenthesis or not rest.endswith(")") or not name.replace(".", "").isidentifier():
        raise ValueError("not a call")
    arguments: dict[str, str] = {}
    for piece in split_top_level(rest[:-1], ","):
        argument, equals, value = piece.partition("=")
        argument = argument.strip()
        if not equals or not argument.isidentifier():
            raise UnreadableCall(f"{name}: {piece:.80} has no argument name")
        if argument in arguments:
            raise UnreadableCall(f"{name}: {argument} is given twice")
        arguments[argument] = unquote(value.strip())
    return Call(name, arguments)
