"""Rows of published data sets: a sample of each in the tree, and the whole where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).parent / "data" / "published"
_WHOLE = Path(__file__).parents[2] / "shared"


def sample_and_whole(sample: str, whole: str) -> list[Any]:
    """Return both files as parameters of a test; the whole one is skipped where it is not."""
    missing = pytest.mark.skipif(
        not (_WHOLE / whole).exists(), reason=f"{whole} is not beside the checkout"
    )
    return [
        pytest.param(SAMPLES / sample, id="sample"),
        pytest.param(_WHOLE / whole, id="whole", marks=missing),
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
