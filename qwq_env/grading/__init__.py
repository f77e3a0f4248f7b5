"""Graders: an answer in, a `Score` out. See `score` for what a verdict is.

The package imports nothing heavy and knows nothing of environments: the core may use it, it never
uses the core.
"""

from qwq_env.grading.pool import GraderPool, PoolSettings
from qwq_env.grading.score import Score

__all__ = ["GraderPool", "PoolSettings", "Score"]
