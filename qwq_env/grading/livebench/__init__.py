"""LiveBench: stored answers to its eighteen tasks, scored as its own judges score them.

Each task's rules stand in the file of its family, with what can be gamed about them: they are for
evaluation, and none of them is offered as a reward. Written from the public rules of
LiveBench/LiveBench (White et al., 2024); rules that changed go by a question's release date.
"""

from qwq_env.grading.livebench.grader import LiveBenchGrader
from qwq_env.grading.livebench.questions import read_questions
from qwq_env.grading.livebench.tasks import JUDGES

__all__ = ["JUDGES", "LiveBenchGrader", "read_questions"]
