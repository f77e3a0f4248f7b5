"""Graders: an answer in, a `Score` out. See `score` for what a verdict is.

The package imports nothing heavy and knows nothing of environments: the core may use it, it never
uses the core.
"""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.grading.answer import final_answer_text as final_answer_text
    from qwq_env.grading.answer import last_boxed as last_boxed
    from qwq_env.grading.batch import grade_file as grade_file
    from qwq_env.grading.calls.match import match_calls as match_calls
    from qwq_env.grading.calls.multi_turn import EpisodeCheck as EpisodeCheck
    from qwq_env.grading.calls.multi_turn import check_episode as check_episode
    from qwq_env.grading.code.grader import CodeGrader as CodeGrader
    from qwq_env.grading.code.problem import CodeProblem as CodeProblem
    from qwq_env.grading.code.rows import read_problem as read_problem
    from qwq_env.grading.math.grader import BadReference as BadReference
    from qwq_env.grading.math.grader import MathGrader as MathGrader
    from qwq_env.grading.pool import GraderPool as GraderPool
    from qwq_env.grading.pool import PoolSettings as PoolSettings
    from qwq_env.grading.reward.classifier import SequenceClassifier as SequenceClassifier
    from qwq_env.grading.reward.judge import Judge as Judge
    from qwq_env.grading.reward.model import Candidate as Candidate
    from qwq_env.grading.reward.model import RewardModel as RewardModel
    from qwq_env.grading.reward.model import Squashed as Squashed
    from qwq_env.grading.reward.normalize import normalize_group as normalize_group
    from qwq_env.grading.reward.pairwise import PairwiseJudge as PairwiseJudge
    from qwq_env.grading.reward.pooling import VllmPooling as VllmPooling
    from qwq_env.grading.reward.rules import InstructionGrader as InstructionGrader
    from qwq_env.grading.score import Score as Score
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "score": "Score",
            "pool": "GraderPool PoolSettings",
            "answer": "last_boxed final_answer_text",
            "math.grader": "MathGrader BadReference",
            "code.grader": "CodeGrader",
            "code.rows": "read_problem",
            "code.problem": "CodeProblem",
            "reward.rules": "InstructionGrader",
            "calls.match": "match_calls",
            "calls.multi_turn": "check_episode EpisodeCheck",
            "reward.model": "RewardModel Candidate Squashed",
            "reward.judge": "Judge",
            "reward.pairwise": "PairwiseJudge",
            "reward.classifier": "SequenceClassifier",
            "reward.pooling": "VllmPooling",
            "reward.normalize": "normalize_group",
            "batch": "grade_file",
        },
    )
