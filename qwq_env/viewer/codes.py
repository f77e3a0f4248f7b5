"""Numbers of sampled tokens as a byte each: near enough to look at; page/src/data.ts reads them."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SMALLEST: Final = 1e-4
_LARGEST: Final = 40.0
_MISSING: Final = 255


def codes_of(name: str, values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a byte a value: sizes in steps of 5 %, ratios by their logarithm either way of 127."""
    with np.errstate(all="ignore"):
        if name != "ratio":
            codes = _steps(np.abs(values), 253)
        else:
            logs = np.log(values)
            codes = 127 + np.sign(logs) * _steps(np.abs(logs), 126)
    codes[~np.isfinite(codes)] = _MISSING
    return codes.astype(np.uint8)


def _steps(sizes: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return 0 for next to nothing, 1 for 0.0001, `steps` + 1 for 40 and beyond; NaN stays."""
    width = math.log(_LARGEST / _SMALLEST) / steps
    codes = 1 + np.round(np.log(sizes / _SMALLEST) / width)
    return np.where(np.isnan(sizes), np.nan, np.clip(codes, 0, min(steps + 1, 2 * 127)))
