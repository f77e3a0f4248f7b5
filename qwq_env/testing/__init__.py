"""A kit that proves environments, tools, dialects and graders sound.

Why you would want this: a test class that gives one factory inherits all that is held against the
library's own.

```python
from qwq_env.testing import EnvConformance, ToolConformance

class TestBank(EnvConformance):
    def make(self):
        return BankEnv()

class TestTransfer(ToolConformance):
    def make(self):
        return Bank            # a Tool, a function, a ToolSet's class, or a list of them
```

Each test says in one line what is wrong and what to mend. `qwq check MODULE:THING` runs the same
without a test. With pytest come three fixtures (see `qwq_env.testing.fixtures`):

```python
def test_lima(toolbox):
    assert toolbox(population).call("population", city="Lima").content == "10.1 million"

def test_peru(play):
    assert play(env, [ToolCall("capital", {"country": "Peru"}), "Lima"], task_id="Peru").reward == 1

def test_tokens(scripted_policy):
    policy = scripted_policy([ToolCall("capital", {"country": "Peru"}), "</think>Lima"])
    engine = Engine(env, policy, policy.codec)
```

What is checked is checked on samples, drawn alike each time: a kit that finds nothing is no proof.
"""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.testing.conformance import Conformance as Conformance
    from qwq_env.testing.conformance import Fault as Fault
    from qwq_env.testing.conformance import Finding as Finding
    from qwq_env.testing.dialect import DialectConformance as DialectConformance
    from qwq_env.testing.environment import EnvConformance as EnvConformance
    from qwq_env.testing.grader import GraderConformance as GraderConformance
    from qwq_env.testing.tool import ToolConformance as ToolConformance
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "conformance": "Conformance Fault Finding",
            "environment": "EnvConformance",
            "tool": "ToolConformance",
            "dialect": "DialectConformance",
            "grader": "GraderConformance",
        },
    )
