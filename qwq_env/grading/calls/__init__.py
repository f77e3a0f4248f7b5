"""Function calls: BFCL's match against possible answers, and its multi-turn state checks.

`match_calls` scores one answer's calls; `EpisodeCheck` plays a multi-turn episode on fresh
simulated services and compares what was done to them with the gold calls; `grade_row` scores a
stored row of either kind. Model output is never evaluated: calls are structured data or literals.
"""

from qwq_env.grading.calls.backends import Backends, BfclMissing, service_documents
from qwq_env.grading.calls.call import Call, NoCalls, UnreadableCall, read_calls
from qwq_env.grading.calls.document import Language
from qwq_env.grading.calls.match import match_calls
from qwq_env.grading.calls.multi_turn import EpisodeCheck, check_episode
from qwq_env.grading.calls.row import check_row, grade_row

__all__ = [
    "Backends",
    "BfclMissing",
    "Call",
    "EpisodeCheck",
    "Language",
    "NoCalls",
    "UnreadableCall",
    "check_episode",
    "check_row",
    "grade_row",
    "match_calls",
    "read_calls",
    "service_documents",
]
