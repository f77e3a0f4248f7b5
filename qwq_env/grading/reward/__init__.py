"""General reward: what an answer is worth where no rule can tell right from wrong.

- `model`: the interface, `RewardModel`, and `Squashed`, which bounds an unbounded one
- `classifier`: a Transformers sequence classifier, batched
- `pooling`: the same kind of model behind a vLLM server
- `judge`: an OpenAI-compatible chat model (`examiner`) with a rubric and a JSON verdict
- `pairwise`: the same, comparing the answers of a group with each other
- `normalize`: scores of a group made comparable

Importing the package loads none of the heavy parts; import them from their modules.
"""

from qwq_env.grading.reward.model import Candidate, RewardModel, Squashed
from qwq_env.grading.reward.normalize import normalize_group

__all__ = ["Candidate", "RewardModel", "Squashed", "normalize_group"]
