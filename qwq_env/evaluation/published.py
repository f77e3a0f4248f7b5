"""Published figures of QwQ-32B and of the models it was compared with, each with its source.

In percent; a figure that its source gives is here, and no other: the announcement of QwQ-32B shows
LiveBench and BFCL of the other models in a picture without a table, so they are left open. What the
same name means differs: DeepSeek's LiveCodeBench is of the problems of 2024-08 to 2025-01, QwQ's of
2024-08 to 2025-02, and each lab has its own harness. Nothing here is measured by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Figure(NamedTuple):
    """A published score in percent, and where it is published."""

    value: float
    source: str


_QWQ: Final = "QwQ-32B, Qwen 2025-03-06, https://qwenlm.github.io/blog/qwq-32b"
_QWQ_EVAL: Final = "QwenLM/QwQ, eval/README.md"
_R1: Final = "DeepSeek-R1, arXiv:2501.12948, table 4"
_DISTILLED: Final = "DeepSeek-R1, arXiv:2501.12948, table 5"
_TO_JANUARY: Final = "; LiveCodeBench of 2024-08 to 2025-01"

PUBLISHED: Final[Mapping[str, Mapping[str, Figure]]] = {
    "QwQ-32B": {
        "aime24": Figure(79.5, _QWQ),
        "aime25": Figure(69.5, _QWQ_EVAL),
        "livecodebench": Figure(63.4, _QWQ),
        "livebench": Figure(73.1, _QWQ),
        "ifeval": Figure(83.9, _QWQ),
        "bfcl": Figure(66.4, _QWQ),
    },
    "DeepSeek-R1": {
        "aime24": Figure(79.8, _R1),
        "livecodebench": Figure(65.9, _R1 + _TO_JANUARY),
        "ifeval": Figure(83.3, _R1),
        "math500": Figure(97.3, _R1),
    },
    "o1-mini": {
        "aime24": Figure(63.6, _R1),
        "livecodebench": Figure(53.8, _R1 + _TO_JANUARY),
        "ifeval": Figure(84.8, _R1),
        "math500": Figure(90.0, _R1),
    },
    "R1-Distill-Llama-70B": {
        "aime24": Figure(70.0, _DISTILLED),
        "livecodebench": Figure(57.5, _DISTILLED + _TO_JANUARY),
        "math500": Figure(94.5, _DISTILLED),
    },
    "R1-Distill-Qwen-32B": {
        "aime24": Figure(72.6, _DISTILLED),
        "livecodebench": Figure(57.2, _DISTILLED + _TO_JANUARY),
        "math500": Figure(94.3, _DISTILLED),
    },
}
"""Model → benchmark → figure, in the order of the announcement's picture."""
