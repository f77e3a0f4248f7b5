"""The wall limits of a training, each within the next."""

from __future__ import annotations

import math

import pytest

from qwq_env.errors import UsageError
from qwq_env.training.limits import WallLimits, batch_seconds


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        (WallLimits(), math.inf),
        (WallLimits(batch=5000.0), 5000.0),
        (WallLimits(batch=math.inf, ddp=1800.0), 1440.0),
        (WallLimits(batch=900.0, ddp=1800.0), 900.0),
        (WallLimits(batch=math.inf, request=1000.0, ddp=1800.0), 800.0),
        (WallLimits(episode=1700.0, batch=math.inf, ddp=1800.0), 1750.0),
        (WallLimits(30.0, 600.0, 900.0, 1200.0, 1800.0), 900.0),
    ],
)
def test_a_batch_ends_before_what_is_around_it(limits, bound):
    assert batch_seconds(limits) == bound


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (WallLimits(tool=60.0, episode=60.0), r"^ToolLimits\.seconds: 60 .* EpisodeLimits"),
        (WallLimits(episode=600.0, batch=300.0), r"^EpisodeLimits\.seconds: 600 .* batch_seconds"),
        (WallLimits(batch=1800.0, request=1800.0), r"^batch_seconds: 1800 .* HttpSettings"),
        (WallLimits(request=2000.0, ddp=1800.0), r"^HttpSettings\.seconds: 2000 .* ddp_timeout"),
        (WallLimits(batch=1800.0, ddp=1800.0), r"^batch_seconds: 1800 .*ddp_timeout \(1800\)"),
        (WallLimits(episode=2000.0, ddp=1800.0), r"^EpisodeLimits\.seconds: 2000 .* ddp_timeout"),
    ],
)
def test_limits_that_are_out_of_order_are_named(limits, told):
    with pytest.raises(UsageError, match=told):
        batch_seconds(limits)
