"""One training step by phase, ours against TRL's own `environment_factory`.

    qwq bench step [--checkpoint DIR] [--steps 5] [--episodes 64] [--json] [--out FILE]

Both sides are the stock `GRPOTrainer` on the same weights, tasks and settings, in one process one
after the other: ours with `rollout_func`, TRL's with an environment whose tool is the same
calculator and whose reward is the same grader. The prompts are the same, token for token: TRL
refuses QwQ's template, so it is given one that writes our schemas, and a response template.
Without a checkpoint, a tiny policy is made first (a cold start of `--cold-start` steps).

Phases, in mean seconds a step: `rollout_s` (`_generate`: sampling and tools), of which `tools_s`
(the tools' own time, added up over episodes), `grading_s`, `learning_s` (the rest: forward,
backward, optimizer).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _episodes import trainer_settings


def main(argv: list[str]) -> int:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--cold-start", type=int, default=300)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = arguments.checkpoint or cold_policy(Path(folder), arguments.cold_start)
        ours = measure(OursSide(checkpoint, arguments), Path(folder), arguments)
        trl = measure(TrlSide(checkpoint, arguments), Path(folder), arguments)
    ratios = {
        "step": trl["step_s"] / ours["step_s"],
        "rollout": trl["rollout_s"] / ours["rollout_s"],
    }
    result = {
        "episodes": arguments.episodes,
        "steps": arguments.steps,
        "ours": ours,
        "trl": trl,
        "trl_over_ours": {name: round(value, 2) for name, value in ratios.items()},
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))
    else:
        for side in ("ours", "trl"):
            print(side, "  ".join(f"{key} {value}" for key, value in result[side].items()))
        print("trl over ours:", result["trl_over_ours"])
    return 0


def cold_policy(folder: Path, steps: int) -> Path:
    """Make a tiny policy that has learned the form of a call, and return its folder."""
    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.registry import make_environment
    from qwq_env.training.cold_start import cold_start
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.policy import build_tiny_policy, tiny_lessons

    env = make_environment("qwq/MathTool-v0")
    lessons = tiny_lessons(env, 4096, difficulty=1, seed=0)
    model, tokenizer = build_tiny_policy(lessons, PolicyRecipe(), seed=0)
    cold_start(model, TokenCodec(tokenizer), lessons, steps=steps)
    for part in (model, tokenizer):
        part.save_pretrained(folder / "cold")
    return folder / "cold"


class OursSide:
    """Our rollouts in a stock trainer."""

    def __init__(self, checkpoint: Path, arguments: argparse.Namespace) -> None:
        from transformers import AutoTokenizer

        from qwq_env.training.rollouts import Rollouts

        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.checkpoint = checkpoint
        self.rollouts = Rollouts(
            "qwq/MathTool-v0",
            self.tokenizer,
            size=arguments.steps * arguments.episodes,
            context=2048,
        )
        self.calls: list[float] = []
        self.tools: list[float] = []
        self.grading: list[float] = []

    def trainer_arguments(self) -> dict[str, Any]:
        """What the trainer is given besides the model and the settings."""
        return {
            "processing_class": self.tokenizer,
            "train_dataset": self.rollouts.dataset,
            "rollout_func": self._play,
            "reward_funcs": self.rollouts.reward,
        }

    def _play(self, prompts: Any, trainer: Any) -> Any:
        columns = self.rollouts(prompts, trainer)
        played = self.rollouts.last
        self.calls.append(sum(t.counts.get("ok", 0) > 0 for t in played) / len(played))
        self.tools.append(sum(t.seconds.tools for t in played))
        self.grading.append(sum(t.seconds.grading for t in played))
        return columns


class TrlSide:
    """TRL's tool loop over an environment with the same calculator and the same grader."""

    def __init__(self, checkpoint: Path, arguments: argparse.Namespace) -> None:
        import datasets
        from transformers import AutoTokenizer
        from trl.chat_template_utils import qwen3_template

        from qwq_env.grading.math import MathGrader
        from qwq_env.registry import make_environment
        from qwq_env.training.rollouts import task_dataset

        self._grader = MathGrader(boxed_only=True)
        self.checkpoint = checkpoint
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        env = make_environment("qwq/MathTool-v0")
        schemas = [tool.schema() for tool in env.settings.tools]
        self.tokenizer.chat_template = _with_schemas(self.tokenizer.chat_template, schemas)
        self.tokenizer.response_template = qwen3_template
        rows = list(task_dataset(env, arguments.steps * arguments.episodes))
        answers = [env.tasks.find(row["prompt"][-1]["task_id"]).answer for row in rows]
        messages = [[{"role": "user", "content": row["prompt"][-1]["content"]}] for row in rows]
        columns = {"prompt": messages, "reference": answers}
        self.dataset = datasets.Dataset.from_dict(columns)
        self.calls: list[float] = []
        self.tools: list[float] = []
        self.grading: list[float] = []
        self._used: list[int] = []

    def trainer_arguments(self) -> dict[str, Any]:
        """What the trainer is given besides the model and the settings."""
        from qwq_env.errors import ToolError
        from qwq_env.tools.calculator import Calculator

        side, shared = self, Calculator()

        class Environment:
            def reset(self, **columns: Any) -> None:
                side._used.append(0)
                self.place = len(side._used) - 1

            def calculator(self, expression: str) -> str:
                """Evaluate an expression.

                Args:
                    expression: The expression.
                """
                start = time.perf_counter()
                side._used[self.place] = 1
                try:
                    return str(shared.evaluate(expression))
                except ToolError as error:
                    return f"Error: {error}"
                finally:
                    side.tools[-1] += time.perf_counter() - start

        return {
            "processing_class": self.tokenizer,
            "train_dataset": self.dataset,
            "environment_factory": Environment,
            "reward_funcs": self._reward,
        }

    def begin_step(self) -> None:
        """Begin to count the tools' time anew."""
        self.tools.append(0.0)

    def _reward(self, completions: Any, reference: Any, **columns: Any) -> list[float]:
        start = time.perf_counter()
        texts = [completion[-1].get("content") or "" for completion in completions]
        pairs = zip(reference, texts, strict=True)
        grade = self._grader.grade_sync
        scores = [grade(wanted, text, "response").value or 0.0 for wanted, text in pairs]
        self.grading.append(time.perf_counter() - start)
        self.calls.append(sum(self._used) / len(self._used))
        # The environments are reset before the next batch is generated.
        self._used.clear()
        return scores


def measure(side: Any, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Train a few steps and return the mean seconds of each phase; the first step warms up."""
    from transformers import AutoModelForCausalLM, PrinterCallback
    from trl import GRPOTrainer

    rollouts: list[float] = []

    class Timed(GRPOTrainer):
        """The stock trainer with a watch on `_generate`."""

        def _generate(self, prompts: Any) -> Any:
            getattr(side, "begin_step", lambda: None)()
            start = time.perf_counter()
            result = super()._generate(prompts)
            rollouts.append(time.perf_counter() - start)
            return result

    trainer = Timed(
        model=AutoModelForCausalLM.from_pretrained(side.checkpoint, dtype="float32"),
        args=trainer_settings(
            folder,
            max_steps=arguments.steps,
            per_device_train_batch_size=arguments.episodes,
            num_generations=8,
            max_completion_length=160,
            learning_rate=1e-6,
        ),
        **side.trainer_arguments(),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    steps = [row["step_time"] for row in trainer.state.log_history if "step_time" in row]

    def mean(values: list[float]) -> float:
        return round(statistics.fmean(values[1:]), 4)

    step, rollout, grading = mean(steps), mean(rollouts), mean(side.grading)
    graded_inside = isinstance(side, OursSide)
    return {
        "step_s": step,
        "rollout_s": round(rollout - grading, 4) if graded_inside else rollout,
        "tools_s": mean(side.tools),
        "grading_s": grading,
        "learning_s": round(step - rollout - (0 if graded_inside else grading), 4),
        "tool_call_rate": mean(side.calls),
    }


def _with_schemas(template: str, schemas: list[dict[str, Any]]) -> str:
    """Return the template with the schemas written into it, whatever tools it is given."""
    start = template.index("{%- for tool in tools -%}")
    end = template.index("{%- endfor -%}", start) + len("{%- endfor -%}")
    text = "".join("\n" + json.dumps(schema, ensure_ascii=False) for schema in schemas)
    fixed = template[:start] + "{{- " + json.dumps(text) + " -}}" + template[end:]
    return fixed.replace("{%- if tools -%}", "{%- if true -%}", 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
