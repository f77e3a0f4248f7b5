"""Dialects: how a model writes its calls and reads their results.

| name     | of                             | a call                               | its result |
|----------|--------------------------------|--------------------------------------|------------|
| `qwq`    | QwQ-32B                        | `<tool_call>` JSON `</tool_call>`    | next turn  |
| `react`  | ReAct (arXiv:2210.03629)       | `Action:` and `Action Input:` lines  | next turn  |
| `tags`   | Search-R1 (arXiv:2503.09516)   | `<search>` text `</search>`          | same turn  |
| `fenced` | ReTool (arXiv:2504.11536)      | a ```` ```python ```` block           | same turn  |

`qwq-brief` is `qwq` with the tools' names and arguments in the prompt in place of their schemas;
`qwq-direct` is for models that may answer without thinking; `search_r1` is `tags` where the prompt
itself tells the model of them, as Search-R1's rows do. In `qwq`, whose prompt opens the thinking,
a final turn that never closes it has no answer and is paid nothing.

`parse` never raises, reads the good calls beside a bad one, and keeps their order. A request
that it cannot read becomes a `MalformedCall` of one of these kinds, which are stable:

| kind                | the model ...                                         | dialects          |
|---------------------|-------------------------------------------------------|-------------------|
| `malformed_json`    | wrote no JSON, or none of the form asked for          | qwq, react        |
| `missing_name`      | named no tool                                         | qwq, react        |
| `unexpected_key`    | wrote a key beside `name` and `arguments`             | qwq               |
| `missing_input`     | wrote an action without its input                     | react             |
| `empty_call`        | wrote a call with nothing in it                       | tags, fenced      |
| `unclosed_tag`      | opened a call and did not close it                    | qwq, tags, fenced |
| `unopened_tag`      | closed a call that it had not opened                  | qwq, tags, fenced |
| `unclosed_thinking` | called a tool in a thinking that it never closed      | qwq, react        |
| `not_python`        | stopped at the fence of a block that is not run       | fenced            |
| `too_many_calls`    | made more than 128 calls; the first 128 are read      | all               |

Text that is not the model's cannot become a control token in any of them (`TokenCodec`). Markup
in plain text is another matter: `tags` and `fenced` write the `<` of their own tags in results as
`&lt;`, `react` indents lines of results that begin with one of its labels, and `qwq` shows
results verbatim, as QwQ-32B's template does. The text of tasks is always shown as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports
from qwq_env.dialect.base import Dialect as Dialect
from qwq_env.dialect.base import Piece as Piece
from qwq_env.errors import UsageError, unknown

if TYPE_CHECKING:
    from qwq_env.dialect.codec import TokenCodec as TokenCodec
    from qwq_env.dialect.load_tokenizer import load_tokenizer as load_tokenizer
else:
    _lazy, __getattr__, __dir__ = lazy_exports(
        __name__, {"codec": "TokenCodec", "load_tokenizer": "load_tokenizer"}
    )
    __all__ = ["Dialect", "Piece", "dialect_names", "make_dialect", "register_dialect", *_lazy]

_DIALECTS = {
    "qwq": "qwq_env.dialect.qwq:QwqDialect",
    "qwq-direct": "qwq_env.dialect.qwq:QwqDirectDialect",
    "qwq-brief": "qwq_env.dialect.qwq_brief:QwqBriefDialect",
    "react": "qwq_env.dialect.react:ReactDialect",
    "tags": "qwq_env.dialect.tags:TagsDialect",
    "search_r1": "qwq_env.dialect.tags:SearchR1Dialect",
    "fenced": "qwq_env.dialect.fenced:FencedDialect",
}


def make_dialect(dialect: str | Dialect) -> Dialect:
    """Return the dialect of that name; a `Dialect` is returned as it is.

    Raises `UsageError` for a name that is not registered.
    """
    if isinstance(dialect, Dialect):
        return dialect
    if not isinstance(dialect, str) or dialect not in _DIALECTS:
        raise unknown("dialect", dialect, _DIALECTS)
    module, _, name = _DIALECTS[dialect].partition(":")
    made = getattr(importlib.import_module(module), name)()
    assert isinstance(made, Dialect)
    return made


def register_dialect(name: str, entry_point: str) -> None:
    """Make `entry_point` (`"module:Class"`, no arguments) known as `name`.

    Raises `UsageError` if the name is taken.
    """
    if name in _DIALECTS:
        raise UsageError(f"dialect: {name!r} is registered already")
    _DIALECTS[name] = entry_point


def dialect_names() -> list[str]:
    """Return every registered name."""
    return sorted(_DIALECTS)
