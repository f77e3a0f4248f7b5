"""The environments that come with the library, and their tasks."""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.envs.arithmetic import ArithmeticTaskSet as ArithmeticTaskSet
    from qwq_env.envs.code import CodeToolEnv as CodeToolEnv
    from qwq_env.envs.code import code_tasks as code_tasks
    from qwq_env.envs.code_functions import FunctionTaskSet as FunctionTaskSet
    from qwq_env.envs.curriculum import Curriculum as Curriculum
    from qwq_env.envs.function_call.environment import FunctionCallEnv as FunctionCallEnv
    from qwq_env.envs.function_call.environment import function_call_tasks as function_call_tasks
    from qwq_env.envs.function_call.procedural import FunctionCallTaskSet as FunctionCallTaskSet
    from qwq_env.envs.general import GeneralEnv as GeneralEnv
    from qwq_env.envs.general import general_tasks as general_tasks
    from qwq_env.envs.instruction import InstructionEnv as InstructionEnv
    from qwq_env.envs.instruction import instruction_tasks as instruction_tasks
    from qwq_env.envs.instruction_tasks import InstructionTaskSet as InstructionTaskSet
    from qwq_env.envs.math import MathToolEnv as MathToolEnv
    from qwq_env.envs.math import math_tasks as math_tasks
    from qwq_env.envs.mixture import MixtureEnv as MixtureEnv
    from qwq_env.envs.puzzles import PuzzleTaskSet as PuzzleTaskSet
    from qwq_env.envs.reasoning import ReasoningEnv as ReasoningEnv
    from qwq_env.envs.reasoning import reasoning_tasks as reasoning_tasks
    from qwq_env.envs.reasoning_gym import ReasoningGymTaskSet as ReasoningGymTaskSet
    from qwq_env.envs.retail.environment import RetailEnv as RetailEnv
    from qwq_env.envs.retail.environment import retail_tasks as retail_tasks
    from qwq_env.envs.retail.tasks import RetailTaskSet as RetailTaskSet
    from qwq_env.envs.retail.tasks import user_instructions as user_instructions
    from qwq_env.envs.reward_models import make_reward_model as make_reward_model
    from qwq_env.envs.search import SearchToolEnv as SearchToolEnv
    from qwq_env.envs.search import search_tasks as search_tasks
    from qwq_env.envs.search_world import WorldTaskSet as WorldTaskSet
    from qwq_env.envs.word_game import WordGameEnv as WordGameEnv
    from qwq_env.envs.word_game import WordGameSet as WordGameSet
    from qwq_env.envs.word_game import game_tasks as game_tasks
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "math": "MathToolEnv math_tasks",
            "arithmetic": "ArithmeticTaskSet",
            "code": "CodeToolEnv code_tasks",
            "code_functions": "FunctionTaskSet",
            "function_call.environment": "FunctionCallEnv function_call_tasks",
            "function_call.procedural": "FunctionCallTaskSet",
            "curriculum": "Curriculum",
            "mixture": "MixtureEnv",
            "general": "GeneralEnv general_tasks",
            "instruction": "InstructionEnv instruction_tasks",
            "instruction_tasks": "InstructionTaskSet",
            "puzzles": "PuzzleTaskSet",
            "reasoning": "ReasoningEnv reasoning_tasks",
            "reasoning_gym": "ReasoningGymTaskSet",
            "retail.environment": "RetailEnv retail_tasks",
            "retail.tasks": "RetailTaskSet user_instructions",
            "reward_models": "make_reward_model",
            "search": "SearchToolEnv search_tasks",
            "search_world": "WorldTaskSet",
            "word_game": "WordGameEnv WordGameSet game_tasks",
        },
    )
