"""What the documentation shows runs: its pages' code, the README's, and every example."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qwq_env.cli import _parser
from qwq_env.cli.check import expand

from .ranks import run_script, start

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "pages").rglob("*.md"))
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
TRAINED = "train_with_trl.py"


NAMES = [str(page.relative_to(ROOT / "docs" / "pages")) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_code_of_a_page(page, tmp_path, monkeypatch):
    """Its blocks one after the other, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        exec(compile(code, str(page), "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=[*NAMES, "README.md"])
def test_the_commands_of_a_page_are_commands(page):
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in re.findall(r"^qwq .*$", block, re.M):
            words = shlex.split(line)[1:]
            words = expand(words) if words[0] == "check" else words
            parsed, overrides = _parser(words[0]).parse_known_args(words)
            assert parsed.command == words[0]
            assert all("=" in word and not word.startswith("-") for word in overrides), line
            for recipe in re.findall(r"recipes/\S+", line):
                assert (ROOT / recipe).exists(), line


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_research_code_of_the_readme():
    stand_in = 'def generate(text):\n    return "so\\n</think>\\n\\n\\\\boxed{1}<|im_end|>"\n'

    assert "'reason': 'answered'" in run("-c", stand_in + SNIPPETS[0])


def test_training_code_of_the_readme_names_what_exists():
    """It needs a 32B checkpoint and servers; its imports and keywords must hold without."""
    import ast
    import inspect

    from trl import GRPOConfig, GRPOTrainer

    from qwq_env.training.rollouts import Rollouts

    [snippet] = [text for text in SNIPPETS if "GRPOTrainer" in text]
    callables = {"Rollouts": Rollouts, "GRPOTrainer": GRPOTrainer, "GRPOConfig": GRPOConfig}
    used = {
        name: {keyword.arg for keyword in node.keywords}
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.Call) and (name := getattr(node.func, "id", "")) in callables
    }
    assert used.keys() == callables.keys()
    for name, keywords in used.items():
        assert keywords <= set(inspect.signature(callables[name]).parameters)


async def test_the_bank_of_the_readme_pays_for_its_end():
    [snippet] = [text for text in SNIPPETS if "ToolSet" in text]
    names: dict = {}
    exec(compile(snippet, "README.md", "exec", dont_inherit=True), names)
    env = names["env"]
    await env.areset(seed=0)
    call = {"name": "transfer", "arguments": {"source": "ann", "target": "bob", "amount": 3}}
    await env.astep({"role": "assistant", "tool_calls": [{"id": "c", "function": call}]})
    *_, terminated, _, info = await env.astep({"role": "assistant", "content": "Moved."})

    assert terminated and info["reward_components"] == {"state": 1.0}


@pytest.mark.parametrize(
    "example", [path.name for path in sorted((ROOT / "examples").glob("*.py"))]
)
def test_example(example, tmp_path):
    if example != TRAINED:
        assert "reward 1.0" in run(f"examples/{example}")
        return
    from qwq_env.registry import make_environment
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.lessons import tiny_lessons
    from qwq_env.training.tiny.policy import build_tiny_policy

    lessons = tiny_lessons(make_environment("qwq/MathTool-v0"), 400, difficulty=1, seed=0)
    for part in build_tiny_policy(lessons, PolicyRecipe(), seed=0):
        part.save_pretrained(tmp_path)
    process = start(
        run_script, str(ROOT / "examples" / example), str(tmp_path), "--steps", "1",
        log=tmp_path / "log",
    )  # fmt: skip
    process.join()
    said = (tmp_path / "log").read_text()
    assert process.exitcode == 0, said[-2000:]
    assert "mean reward by step" in said
