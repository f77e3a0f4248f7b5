"""From an environment to a trained policy: rollouts for TRL, recipes, whole runs."""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.training.async_rollouts import AsyncRollouts as AsyncRollouts
    from qwq_env.training.cold_start import cold_start as cold_start
    from qwq_env.training.recipe import Recipe as Recipe
    from qwq_env.training.recipe import dump_recipe as dump_recipe
    from qwq_env.training.recipe import load_recipe as load_recipe
    from qwq_env.training.rollouts import Rollouts as Rollouts
    from qwq_env.training.run import train as train
    from qwq_env.training.trainer import ToolGRPOTrainer as ToolGRPOTrainer
    from qwq_env.training.transcript import Transcript as Transcript
    from qwq_env.training.trl_data import task_dataset as task_dataset
    from qwq_env.training.weights.adapter import AdapterWeightSync as AdapterWeightSync
    from qwq_env.training.weights.base import Pushed as Pushed
    from qwq_env.training.weights.base import WeightSync as WeightSync
    from qwq_env.training.weights.disk import DiskWeightSync as DiskWeightSync
    from qwq_env.training.weights.disk import prepare_served as prepare_served
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "rollouts": "Rollouts",
            "trl_data": "task_dataset",
            "async_rollouts": "AsyncRollouts",
            "weights.base": "WeightSync Pushed",
            "weights.disk": "DiskWeightSync prepare_served",
            "weights.adapter": "AdapterWeightSync",
            "recipe": "Recipe load_recipe dump_recipe",
            "trainer": "ToolGRPOTrainer",
            "transcript": "Transcript",
            "cold_start": "cold_start",
            "run": "train",
        },
    )
