"""A recipe: everything that a run is made of, in one YAML file, checked before anything starts.

`schema.py` has every key with its default and what it is, with the sections' own files beside it;
`build.py` reads a file and `key=value` overrides into it; `check.py` holds it against the
checkpoint and the cluster that it names.
Nothing here imports torch, Transformers or TRL.
"""

from qwq_env.training.recipe.build import dump_recipe as dump_recipe
from qwq_env.training.recipe.cluster import ClusterRecipe as ClusterRecipe
from qwq_env.training.recipe.learning import ColdStartRecipe as ColdStartRecipe
from qwq_env.training.recipe.learning import GrpoRecipe as GrpoRecipe
from qwq_env.training.recipe.load import load_recipe as load_recipe
from qwq_env.training.recipe.policy import LoraRecipe as LoraRecipe
from qwq_env.training.recipe.policy import PolicyRecipe as PolicyRecipe
from qwq_env.training.recipe.schema import EnvironmentRecipe as EnvironmentRecipe
from qwq_env.training.recipe.schema import EvaluationRecipe as EvaluationRecipe
from qwq_env.training.recipe.schema import LimitsRecipe as LimitsRecipe
from qwq_env.training.recipe.schema import Recipe as Recipe
from qwq_env.training.recipe.schema import RolloutRecipe as RolloutRecipe
from qwq_env.training.recipe.stages import GateRecipe as GateRecipe
from qwq_env.training.recipe.stages import RewardModelRecipe as RewardModelRecipe
from qwq_env.training.recipe.stages import StageRecipe as StageRecipe
