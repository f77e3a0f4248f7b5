"""What every environment takes beside what is its own.

An environment's file names its tasks, tools and reward, and passes the rest on:

```python
class MineEnv(ToolEnv):
    def __init__(self, *, difficulty: int = 1, **options: Unpack[EnvironmentOptions]) -> None:
        super().__init__(my_tasks(difficulty), [lookup], Rubric([...]), **options)
```

Type checkers and editors know the names, and one that is not known is refused as any other is.
"""

from __future__ import annotations

from typing import TypedDict

from qwq_env.dialect.base import Dialect
from qwq_env.outcome import EpisodeLimits
from qwq_env.text.truncation import Tokenizer
from qwq_env.toolbox import ToolLimits


class EnvironmentOptions(TypedDict, total=False):
    """The keyword arguments of `ToolEnv`, where they are described."""

    dialect: str | Dialect
    limits: EpisodeLimits | None
    tool_limits: ToolLimits | None
    system_prompt: str | None
    tokenizer: Tokenizer | None
    render_mode: str | None
