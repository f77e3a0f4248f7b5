"""What comes with the library is held by the very classes that its users inherit."""

from __future__ import annotations

import pytest

from qwq_env.cards import library_ids
from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.registry import make_environment
from qwq_env.templates import template_env
from qwq_env.templates.template_tool import template_tool
from qwq_env.testing import DialectConformance, EnvConformance, GraderConformance, ToolConformance
from qwq_env.tools.calculator import Calculator
from qwq_env.tools.python import PythonTool
from qwq_env.tools.search import Passage, SearchTool
from qwq_env.tools.search.memory import MemoryIndex

assert template_env.MADE_BY  # its id is registered

ENVIRONMENTS = [(each, {}) for each in library_ids()]
ENVIRONMENTS += [("qwq/SearchTool-v0", {"reward": "f1", "difficulty": 4, "dialect": "tags"})]


class TestEnvironments(EnvConformance):
    audit_tasks = 3
    random_episodes = 10

    @pytest.fixture(autouse=True, params=ENVIRONMENTS, ids=lambda each: each[0])
    def environment(self, request):
        self.id, self.arguments = request.param

    def make(self):
        return make_environment(self.id, self.arguments)


class TestDialects(DialectConformance):
    @pytest.fixture(autouse=True, params=dialect_names())
    def dialect(self, request):
        self.name = request.param

    def make(self):
        return make_dialect(self.name)


def search() -> SearchTool:
    pages = [Passage(name, name, f"{name} is a capital.") for name in ("Lima", "Rome")]
    return SearchTool(MemoryIndex(pages))


class TestTools(ToolConformance):
    @pytest.fixture(autouse=True, params=[Calculator, PythonTool, search, lambda: template_tool])
    def tool(self, request):
        self.make_tool = request.param

    def make(self):
        return self.make_tool()


class TestSets(ToolConformance):
    @pytest.fixture(autouse=True, params=["own/TemplateEnv-v0", "qwq/Retail-v0"])
    def environment(self, request):
        self.env = make_environment(request.param)

    def make(self):
        return self.env.settings.tools.sets[0].make

    def task(self):
        return self.env.tasks.task(0)


class TestGraders(GraderConformance):
    @pytest.fixture(autouse=True, params=["MathTool", "SearchTool", "Reasoning"])
    def environment(self, request):
        self.env = make_environment(f"qwq/{request.param}-v0")

    def make(self):
        return self.env.settings.rubric

    def tasks(self):
        return [self.env.tasks.task(index) for index in range(6)]

    def phrase(self, answer):
        return self.env.phrase_answer(answer)
