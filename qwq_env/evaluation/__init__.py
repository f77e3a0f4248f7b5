"""Looking at environments and policies from outside: audits, benchmarks, reports."""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.evaluation.cheats import Paid as Paid
    from qwq_env.evaluation.cheats import audit_rewards as audit_rewards
    from qwq_env.evaluation.cheats import faults as faults
    from qwq_env.evaluation.cheats import is_sound as is_sound
    from qwq_env.evaluation.heldout import Result as Result
    from qwq_env.evaluation.heldout import evaluate as evaluate
    from qwq_env.evaluation.heldout import summarize as summarize
    from qwq_env.evaluation.numerics import check_numerics as check_numerics
    from qwq_env.evaluation.request import EvaluationRequest as EvaluationRequest
    from qwq_env.evaluation.run import run_evaluation as run_evaluation
    from qwq_env.evaluation.summary import Mean as Mean
    from qwq_env.evaluation.summary import Summary as Summary
    from qwq_env.evaluation.summary import summarize_evaluation as summarize_evaluation
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "request": "EvaluationRequest",
            "run": "run_evaluation",
            "summary": "Summary Mean summarize_evaluation",
            "heldout": "Result evaluate summarize",
            "numerics": "check_numerics",
            "cheats": "Paid audit_rewards faults is_sound",
        },
    )
