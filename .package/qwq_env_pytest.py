"""The pytest plugin of qwq-env: the fixtures `toolbox`, `play` and `scripted_policy`.

A module of its own, outside the package: pytest imports it in every project of an environment that
qwq-env is installed in, so it imports nothing of it until a fixture is asked for.
"""

import pytest


@pytest.fixture
def toolbox():
    """Make the tools of an episode: `toolbox(Bank, task=task).call("balance", name="ann")`."""
    from qwq_env.testing.fixtures import toolboxes  # noqa: PLC0415 - costs nothing when unused

    with toolboxes() as made:
        yield made


@pytest.fixture
def play():
    """Play an episode: `play(env, [ToolCall("add", {"a": 1}), "It is 2."], index=0).reward`."""
    from qwq_env.testing import fixtures  # noqa: PLC0415 - likewise

    return fixtures.play


@pytest.fixture
def scripted_policy():
    """Make a policy of moves, to play as `Engine(env, policy, policy.codec)`."""
    from qwq_env.testing import fixtures  # noqa: PLC0415 - likewise

    return fixtures.scripted_policy
