"""Looking at environments and policies from outside: benchmarks, reports, comparisons, audits.

An evaluation goes from file to file: `request` (what is asked) → `benchmarks` (its protocol and its
data) → `player` (the policy) → `run` (plays what is missing in a `folder`; `meter` counts,
`progress` tells) → `summary` (by `statistics`) → `report`. `comparison` and `regrade` read such
folders. `cheats` and `numerics` audit rewards and log-probabilities, `heldout` is what a training
run evaluates itself with.
"""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.evaluation.benchmarks import BENCHMARKS as BENCHMARKS
    from qwq_env.evaluation.benchmarks import find_benchmark as find_benchmark
    from qwq_env.evaluation.cheats import Paid as Paid
    from qwq_env.evaluation.cheats import audit_rewards as audit_rewards
    from qwq_env.evaluation.cheats import faults as faults
    from qwq_env.evaluation.cheats import is_sound as is_sound
    from qwq_env.evaluation.comparison import Comparison as Comparison
    from qwq_env.evaluation.comparison import compare_runs as compare_runs
    from qwq_env.evaluation.heldout import Result as Result
    from qwq_env.evaluation.heldout import evaluate as evaluate
    from qwq_env.evaluation.heldout import summarize as summarize
    from qwq_env.evaluation.numerics import check_numerics as check_numerics
    from qwq_env.evaluation.report import write_report as write_report
    from qwq_env.evaluation.request import EvaluationRequest as EvaluationRequest
    from qwq_env.evaluation.run import run_evaluation as run_evaluation
    from qwq_env.evaluation.statistics import Difference as Difference
    from qwq_env.evaluation.statistics import Mean as Mean
    from qwq_env.evaluation.statistics import paired_difference as paired_difference
    from qwq_env.evaluation.statistics import pass_at_k as pass_at_k
    from qwq_env.evaluation.summary import Summary as Summary
    from qwq_env.evaluation.summary import summarize_evaluation as summarize_evaluation
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "report": "write_report",
            "request": "EvaluationRequest",
            "run": "run_evaluation",
            "benchmarks": "BENCHMARKS find_benchmark",
            "comparison": "Comparison compare_runs",
            "statistics": "Mean Difference paired_difference pass_at_k",
            "summary": "Summary summarize_evaluation",
            "heldout": "Result evaluate summarize",
            "numerics": "check_numerics",
            "cheats": "Paid audit_rewards faults is_sound",
        },
    )
