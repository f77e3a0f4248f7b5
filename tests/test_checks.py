from __future__ import annotations

from typing import Any

import pytest

from qwq_env.chat_model import Sampling
from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import UsageError
from qwq_env.http.client import HttpClient
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.play import PlaySettings

NO_NUMBERS = [None, "3", [], True, float("nan"), 0, -1, 1j]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("check", [check_positive, check_whole])
def test_what_is_no_bound_is_refused_in_one_line(check: Any, value: Any) -> None:
    with pytest.raises(UsageError, match=r"^seconds: .*; expected a .*number above 0$"):
        check("seconds", value)


def test_what_is_a_bound_passes() -> None:
    check_positive("seconds", 0.5)
    check_positive("seconds", float("inf"))
    check_positive("seconds", None, optional=True)
    check_whole("calls", 1)
    check_whole("calls", None, optional=True)
    with pytest.raises(UsageError, match=r"calls: 1\.5; expected a whole number above 0, or None"):
        check_whole("calls", 1.5, optional=True)


@pytest.mark.parametrize("value", [None, "3", float("nan"), -1])
@pytest.mark.parametrize(
    ("made", "field"),
    [
        (PlaySettings, "context"),
        (PlaySettings, "turn_tokens"),
        (EngineSettings, "concurrency"),
        (EngineSettings, "batch_seconds"),
        (HttpClient, "in_flight"),
        (HttpClient, "seconds"),
        (Sampling, "temperature"),
        (Sampling, "top_p"),
        (Sampling, "top_k"),
    ],
)
def test_settings_name_the_field(made: Any, field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{field}: "):
        made(**{field: value})
