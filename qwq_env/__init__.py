"""qwq-env: multi-turn tool-use environments for reasoning models.

Importing the package registers the environments with Gymnasium and does nothing else.
"""

import gymnasium

from qwq_env._version import __version__ as __version__

# Gymnasium's passive checker is left out: after a reset that raised it fails at every later step,
# and it warns of the NaN that marks a lost episode. The tests hold every id to `check_env`.
gymnasium.register(
    id="qwq/MathTool-v0",
    entry_point="qwq_env.envs.math:MathToolEnv",
    vector_entry_point="qwq_env.envs.math:make_vector",
    disable_env_checker=True,
)
gymnasium.register(
    id="qwq/General-v0",
    entry_point="qwq_env.envs.general:GeneralEnv",
    vector_entry_point="qwq_env.envs.general:make_vector",
    disable_env_checker=True,
)
