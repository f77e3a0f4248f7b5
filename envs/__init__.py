"""The environments that come with the library, and their tasks."""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.envs.arithmetic import ArithmeticTaskSet as ArithmeticTaskSet
    from qwq_env.envs.code import CodeToolEnv as CodeToolEnv
    from qwq_env.envs.code import code_tasks as code_tasks
    from qwq_env.envs.code_functions import FunctionTaskSet as FunctionTaskSet
    from qwq_env.envs.curriculum import Curriculum as Curriculum
    from qwq_env.envs.general import GeneralEnv as GeneralEnv
    from qwq_env.envs.general import general_tasks as general_tasks
    from qwq_env.envs.general_tasks import InstructionTaskSet as InstructionTaskSet
    from qwq_env.envs.math import MathToolEnv as MathToolEnv
    from qwq_env.envs.math import math_tasks as math_tasks
    from qwq_env.envs.mixture import MixtureEnv as MixtureEnv
    from qwq_env.envs.retail.environment import RetailEnv as RetailEnv
    from qwq_env.envs.retail.environment import retail_tasks as retail_tasks
    from qwq_env.envs.retail.tasks import RetailTaskSet as RetailTaskSet
    from qwq_env.envs.retail.tasks import user_instructions as user_instructions
    from qwq_env.envs.reward_models import make_reward_model as make_reward_model
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "math": "MathToolEnv math_tasks",
            "arithmetic": "ArithmeticTaskSet",
            "code": "CodeToolEnv code_tasks",
            "code_functions": "FunctionTaskSet",
            "curriculum": "Curriculum",
            "mixture": "MixtureEnv",
            "general": "GeneralEnv general_tasks",
            "general_tasks": "InstructionTaskSet",
            "retail.environment": "RetailEnv retail_tasks",
            "retail.tasks": "RetailTaskSet user_instructions",
            "reward_models": "make_reward_model",
        },
    )
