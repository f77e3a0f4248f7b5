"""What a benchmark is: its data, and the protocols by which it is played and judged.

A `Benchmark` is data. `qwq eval` reads it, the report repeats it, and a reader of a paper finds in
one file what was asked, how it was sampled, what was taken for the answer and who judged it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from qwq_env.chat_model import Sampling
from qwq_env.errors import unknown
from qwq_env.rubric import Component
from qwq_env.task import RowReader, Task, read_any_row

QWQ_SAMPLING: Final = Sampling(temperature=0.6, top_p=0.95, top_k=40)
GREEDY: Final = Sampling(temperature=0.0)
QWQ_TOKENS: Final = 32_768
QWQ_SOURCE: Final = "QwenLM/QwQ, eval/ (2025-03)"
BARE: Final[Mapping[str, Any]] = {"tools": ()}
"""Arguments of an environment in which the model has no tools, as in published figures."""


class Hub(NamedTuple):
    """A dataset of the Hugging Face hub, or a folder of the same layout.

    `files` are patterns of files to be taken as they are; without any it is loaded as a table.
    `more` are datasets whose files belong to it too.
    """

    dataset: str
    configuration: str | None = None
    split: str = "test"
    files: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a benchmark is played and judged under a preset.

    `prompt`, `extraction`, `judge` and `metric` say so in words, for reports; what is done is in
    `read` (a row to a task, the prompt with it), in `sampling`, `samples` and `tokens` (of the
    completion), and in the `arguments` of the environment. `source` is where it is published.
    """

    prompt: str
    extraction: str
    judge: str
    metric: str
    source: str
    samples: int = 1
    sampling: Sampling = QWQ_SAMPLING
    tokens: int = QWQ_TOKENS
    arguments: Mapping[str, Any] = field(default_factory=dict)
    read: RowReader = read_any_row


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark, and the environment that plays it.

    `forms` are the columns by which its rows are known, by who publishes them so; without any, the
    `environment` reads a folder itself, which has `files`. `size` is how many tasks are published
    (None: as many as the files that are given), `home` where. `keep` leaves out rows that are not
    part of it. `measures` are judged beside the one that counts. `vote` is what an answer votes for
    (None: nothing), for cons@k. `group` names the part of the benchmark that a task belongs to,
    such as `math/olympiad`.

    What is averaged is whether an answer is right, or with `partial` its score. The figure is the
    mean over all tasks, or of a `balanced` one that of its groups: of those with one name before
    the `/` first.
    """

    name: str
    title: str
    environment: str
    size: int | None
    home: str
    protocols: Mapping[str, Protocol]
    hub: Hub | None = None
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    keep: Callable[[Mapping[str, Any]], bool] | None = None
    measures: tuple[Component, ...] = ()
    vote: Callable[[str], Hashable | None] | None = None
    group: Callable[[Task], str] | None = None
    partial: bool = False
    balanced: bool = False

    def protocol(self, preset: str) -> Protocol:
        """Return the protocol of a preset. Raises `UsageError` for one that there is not."""
        if preset not in self.protocols:
            raise unknown("preset", preset, self.protocols)
        return self.protocols[preset]
