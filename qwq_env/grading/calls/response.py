"""The calls that a whole response attempts, in whatever form; and what is only talk.

An attempt, read as a call where it can be and malformed where it cannot:

- what only a call is written with: `<tool_call>`, `<function=...>`, `[TOOL_CALLS]`, `functools[`,
  `<search>` and their kin with something in them, `Action:` with `Action Input:`, a JSON object of
  a name and arguments; anywhere in the text, closed or not;
- BFCL's list of calls, `[f(a=1)]`, on a line of its own, in a fence, or, of a function of the row,
  anywhere;
- a call of a function of the row, `f(a=1)`, that is the whole of a line or of a fence, or one in a
  program in a fence that does not define that function itself.

Talk: a function's name in a sentence, its signature (`f(a)`, `f(a: int)`), code in `backticks`
within a sentence, other programs, JSON that is no call, a function's document repeated.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from qwq_env.grading.calls.call import (
    DECODER,
    MAX_TEXT,
    Call,
    NoCalls,
    UnreadableCall,
    is_named_call,
    read_calls,
)
from qwq_env.text.python import parse_python, read_literal

__all__ = ["read_response"]

Parse = Callable[[str], list[Call]]
"""Reads a text that is nothing but calls; raises NoCalls or UnreadableCall."""

_MOST_PLACES: Final = 64
_NAME: Final = r"[A-Za-z_][\w.]*"
# Not the fences of `qwq_env.grading.code.fences`: a call in a block that was cut off is attempted,
# where a program in one is none.
_FENCE: Final = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<inside>.*?)(?:^[ \t]*(?P=fence)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_PRINTED: Final = re.compile(r"print\((?P<call>[^\n]*)\)")
"""As Gemma calls in a fence."""
_INLINE_CODE: Final = re.compile(r"(?<!`)(`{1,3})[^`\n]*\1(?!`)")
_TAGGED: Final = re.compile(
    r"<(?P<tag>tool_calls?|tool_use|function_calls?)>(?P<inside>.*?)"
    r"(?:(?P<closed></(?P=tag)>)|(?=<(?P=tag)>)|\Z)",
    re.DOTALL,
)
_SEARCH: Final = re.compile(r"<search>(?P<query>[^<]*)</search>")
_FUNCTION: Final = re.compile(
    r"<(?:\w+:)?(?:function|invoke)(?:=|\s+name=)[\"']?(?P<name>[\w.\-]+)[\"']?\s*>(?P<inside>.*?)"
    r"(?:</(?:\w+:)?(?:function|invoke)>|(?=<(?:\w+:)?(?:function|invoke)[= ])|\Z)",
    re.DOTALL,
)

_PARAMETER: Final = re.compile(
    r"<(?:\w+:)?parameter(?:=|\s+name=)[\"']?(?P<name>[\w.\-]+)[\"']?\s*>(?P<value>.*?)"
    r"</(?:\w+:)?parameter>",
    re.DOTALL,
)
_PREFIX: Final = re.compile(
    r"(?:\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_calls?\|>|\bfunctools(?=\s*\[))\s*"
    rf"(?:(?P<name>{_NAME})(?:\[ARGS\])?\s*(?=\{{)|(?=[\[{{])|(?={_NAME}\())"
)
_SPECIAL: Final = re.compile(
    r"(?:<(?:\||｜)tool[▁_]call[▁_]begin(?:\||｜)>\s*(?:function\s*<｜tool▁sep｜>)?"
    r"|<\|channel\|>(?:commentary|analysis)\s+to=)"
    r"\s*(?:functions\.)?(?P<name>[\w.\-]+?)(?::\d+)?\s*"
    r"(?:<｜tool▁sep｜>|<\|tool_call_argument_begin\|>|<\|constrain\|>\s*json\s*<\|message\|>"
    r"|<\|message\|>|\s*(?=```))\s*(?:```json\s*)?"
)
"""DeepSeek's and Kimi's calls, and those of the harmony format."""
_BARE_NAMED: Final = re.compile(rf"^>>>[ \t]*(?P<name>{_NAME})[ \t]*\n\s*(?=\{{)", re.MULTILINE)
_OTHER_MARKUP: Final = re.compile(
    r"<(?:\||｜)tool[▁_ ]calls?[▁_ ](?:section[▁_ ])?begin|<\|channel\|>commentary to="
    r"|<\w+:tool_call>|<[\w:]+:invoke\b|<\|START_ACTION\|>"
)
_ARGUMENT: Final = re.compile(
    r"<arg_key>(?P<name>[^<]*)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>", re.DOTALL
)
_ARGUMENTS_ALONE: Final = re.compile(rf"(?P<name>{_NAME})\s*(?:```json\s*)?(?=<arg_key>|\{{|\Z)")
_ACTION: Final = re.compile(
    rf"^[ \t]*\**Action\**:\**[ \t]*(?P<name>{_NAME})[ \t]*\n[ \t]*\**Action Input\**:\**[ \t]*",
    re.MULTILINE,
)
_OBJECT: Final = re.compile(
    r"(?:\[\s*)?\{\s*(?P<quote>[\"'])"
    r"(?:name|arguments|parameters|function|type|tool|tool_name|tool_call_id|id|args|input)"
    r"(?P=quote)\s*:"
)
_BROKEN_OBJECT: Final = re.compile(
    r"\"name\"\s*:\s*\"[^\"\n]{1,200}\"\s*,\s*\"(?:arguments|parameters)\"\s*:"
    r"(?!\s*\{\s*\"(?:type|properties)\")"
)
_DECORATION: Final = " \t\r*>-_.;,0123456789"
_LIST: Final = re.compile(rf"\[\s*(?P<name>{_NAME})\s*\(")
_LINE: Final = re.compile(
    rf"(?:^[ \t]*(?:[-*>]|\d{{1,3}}[.)])?|:)[ \t*]*(?P<name>{_NAME})[ \t]*(?=\()", re.MULTILINE
)
_QUOTED: Final = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|[()\[\]{}]")


def read_response(text: str, names: Iterable[str], parse: Parse) -> list[Call]:
    """The calls that a response states, in order; `names` are the functions of its row.

    Raises NoCalls if it attempts none, UnreadableCall if one cannot be read.
    """
    if len(text) > MAX_TEXT:
        raise UnreadableCall(f"response: {len(text)} characters; expected at most {MAX_TEXT}")
    try:
        return parse(text)
    except NoCalls:
        pass
    known = frozenset(map(plain_name, names))
    spoken = _INLINE_CODE.sub(_without_ticks, text)
    for find in (_tagged, _functions, _special, _prefixed, _actions, _objects):
        if calls := list(find(spoken, parse)):
            return calls
    if _OTHER_MARKUP.search(spoken):
        raise UnreadableCall("calls are marked up, and none can be read")
    if calls := list(_fenced(spoken, known, parse)):
        return calls
    if calls := _in_lines(_FENCE.sub("", spoken), known, parse):
        return calls
    if _is_program_of(text.strip(), known):
        raise UnreadableCall("the response is a program, not a list of calls")
    raise NoCalls("the text attempts no call")


def _without_ticks(code: re.Match[str]) -> str:
    """Leave out inline code in a sentence; of code that is alone on its line, the ticks."""
    before = code.string[: code.start()].rpartition("\n")[2]
    after = code.string[code.end() :].partition("\n")[0]
    alone = not before.strip(_DECORATION) and not after.strip(_DECORATION)
    return f" {code[0].strip('`')} " if alone else " " * len(code[0])


def plain_name(name: str) -> str:
    """A function's name as APIs without dots in names have it."""
    return name.replace(".", "_")


def _tagged(text: str, parse: Parse) -> Iterator[Call]:
    for found in _TAGGED.finditer(text):
        inside = found["inside"].strip()
        if found["closed"] or re.match(rf"[\[{{<]|{_NAME}\(", inside):
            yield from _block(inside, parse)
    for found in _SEARCH.finditer(text):
        yield Call("search", {"query": found["query"].strip()})


def _block(inside: str, parse: Parse) -> list[Call]:
    """The calls in a place that is for calls alone."""
    if calls := list(_functions(inside, parse)):
        return calls
    if nested := list(_TAGGED.finditer(inside)):
        return [call for each in nested for call in _block(each["inside"].strip(), parse)]
    if found := _ARGUMENTS_ALONE.match(inside):
        value, _ = _decoded(inside, found.end())
        if not isinstance(value, dict):
            given = _ARGUMENT.finditer(inside)
            value = {each["name"].strip(): _value_of(each["value"].strip("\n")) for each in given}
        return [Call(found["name"], value)]
    if inside == "[]":
        return []
    calls, position = [], 0
    while position < len(inside):
        value, position = _decoded(inside, position)
        if value is None:
            break
        calls += read_calls(value)
        position += len(inside[position:]) - len(inside[position:].lstrip(" \t\r\n,"))
    if calls and position == len(inside):
        return calls
    try:
        return parse(inside)
    except NoCalls:
        raise UnreadableCall(f"{inside:.80}: expected calls") from None


def _functions(text: str, parse: Parse) -> Iterator[Call]:
    for found in _FUNCTION.finditer(text):
        value, _ = _decoded(found["inside"].strip(), 0)
        if not isinstance(value, dict):
            given = _PARAMETER.finditer(found["inside"])
            value = {each["name"]: _value_of(each["value"].strip("\n")) for each in given}
        yield Call(found["name"], value)


def _value_of(text: str) -> Any:
    value, end = _decoded(text, 0)
    return value if end == len(text) else text


def _special(text: str, parse: Parse) -> Iterator[Call]:
    for pattern in (_SPECIAL, _BARE_NAMED):
        for found in itertools.islice(pattern.finditer(text), _MOST_PLACES):
            value, _ = _decoded(text, found.end())
            if not isinstance(value, dict):
                raise UnreadableCall(f"{found['name']}: arguments are not JSON")
            yield Call(found["name"], value)


def _prefixed(text: str, parse: Parse) -> Iterator[Call]:
    for found in itertools.islice(_PREFIX.finditer(text), _MOST_PLACES):
        value, end = _decoded(text, found.end())
        if found["name"] is not None and isinstance(value, dict):
            yield Call(found["name"], value)
        elif found["name"] is None:
            closing = end if value is not None else _closing(text, found.end())
            yield from _block(text[found.end() : closing], parse)
        else:
            raise UnreadableCall(f"{found['name']}: arguments are not JSON")


def _actions(text: str, parse: Parse) -> Iterator[Call]:
    for found in itertools.islice(_ACTION.finditer(text), _MOST_PLACES):
        value, _ = _decoded(text, found.end())
        if not isinstance(value, dict):
            raise UnreadableCall(f"{found['name']}: arguments are not JSON")
        yield Call(found["name"], value)


def _objects(text: str, parse: Parse) -> Iterator[Call]:
    position = 0
    for found in itertools.islice(_OBJECT.finditer(text), _MOST_PLACES):
        if found.start() < position:
            continue
        value, end = _decoded(text, found.start())
        if value is None and found["quote"] == "'":
            end = _closing(text, found.start())
            value = _literal(text[found.start() : end])
        items = value if isinstance(value, list) else [value]
        if all(isinstance(item, dict) and _is_call(item) for item in items):
            position = end
            yield from read_calls(items)
    if not position and _BROKEN_OBJECT.search(text):
        raise UnreadableCall("a call's JSON is broken")


def _is_call(item: dict[str, Any]) -> bool:
    inner = item.get("function")
    return is_named_call(inner if isinstance(inner, dict) else item)


def _decoded(text: str, position: int) -> tuple[Any, int]:
    """The JSON value at a place, and where it ends; None if there is none."""
    try:
        value, end = DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None, position
    return value, end


def _literal(text: str) -> Any:
    """The value of a literal of Python, as which models write JSON too; None if it is none."""
    try:
        return read_literal(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _fenced(text: str, known: frozenset[str], parse: Parse) -> Iterator[Call]:
    for found in itertools.islice(_FENCE.finditer(text), _MOST_PLACES):
        inside = found["inside"].strip()
        if printed := _PRINTED.fullmatch(inside):
            inside = printed["call"]
        try:
            calls = parse(inside)
        except UnreadableCall:
            if _opens_call(inside, known) or _is_program_of(inside, known):
                raise
            continue
        except NoCalls:
            if _opens_list(inside, known) or _is_program_of(inside, known):
                raise UnreadableCall("the block is not a list of calls") from None
            continue
        if _is_meant(calls, inside.startswith(("[", "{")), known):
            yield from calls


def _in_lines(text: str, known: frozenset[str], parse: Parse) -> list[Call]:
    return list(_lists(text, known, parse)) or list(_lines(text, known, parse))


def _lists(text: str, known: frozenset[str], parse: Parse) -> Iterator[Call]:
    """The calls of BFCL's lists in a text."""
    position = 0
    for found in itertools.islice(_LIST.finditer(text), _MOST_PLACES):
        named = plain_name(found["name"]) in known
        begins_line = not text[: found.start()].rpartition("\n")[2].strip(_DECORATION)
        if found.start() < position or not (named or begins_line):
            continue
        position = end = _closing(text, found.start())
        piece = text[found.start() : end]
        try:
            calls = parse(piece)
        except (NoCalls, UnreadableCall):
            if named:
                raise UnreadableCall(f"{piece:.80}: expected calls") from None
            continue
        if _is_meant(calls, True, known):
            yield from calls


def _lines(text: str, known: frozenset[str], parse: Parse) -> Iterator[Call]:
    """The calls of known functions that are the whole of a line, or of its end behind a colon."""
    for found in itertools.islice(_LINE.finditer(text), _MOST_PLACES):
        if plain_name(found["name"]) not in known:
            continue
        end = _closing(text, found.end())
        piece = text[found.start("name") : end]
        if not text[end:].partition("\n")[0].strip(" \t\r;,*"):
            try:
                calls = parse(piece)
            except (NoCalls, UnreadableCall):
                if re.search(r"\w\s*=", piece):
                    raise UnreadableCall(f"{piece:.80}: expected a call") from None
                continue
            if _is_meant(calls, False, known):
                yield from calls


def _closing(text: str, opening: int) -> int:
    """Where the bracket at `opening` is closed; the end of the text if it is not."""
    depth = 0
    for found in _QUOTED.finditer(text, opening):
        if found[0] in "([{":
            depth += 1
        elif found[0] in ")]}":
            depth -= 1
            if depth <= 0:
                return found.end()
    return len(text)


def _is_meant(calls: list[Call], listed: bool, known: frozenset[str]) -> bool:
    """Say whether calls are attempted: arguments by place alone are how a signature is written."""
    if all(plain_name(call.name) in known for call in calls):
        return listed or all(call.arguments or not call.positional for call in calls)
    return listed and any(call.arguments for call in calls)


def _opens_list(inside: str, known: frozenset[str]) -> bool:
    found = _LIST.match(inside)
    return found is not None and plain_name(found["name"]) in known


def _opens_call(inside: str, known: frozenset[str]) -> bool:
    found = _LIST.match(inside) or _LINE.match(inside)
    return found is not None and plain_name(found["name"]) in known


def _is_program_of(inside: str, known: frozenset[str]) -> bool:
    """Say whether Python calls a known function by argument names, and does not define it."""
    try:
        nodes = list(ast.walk(parse_python(inside)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    called = {
        plain_name(ast.unparse(node.func))
        for node in nodes
        if isinstance(node, ast.Call) and node.keywords
    }
    return bool((called - own) & known)
