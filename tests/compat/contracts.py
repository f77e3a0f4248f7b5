"""The contract tests: those of what the libraries below give us and what Python itself does."""

from __future__ import annotations

CORE = (
    "tests/test_env.py", "tests/test_gymnasium.py", "tests/test_toolbox.py", "tests/test_tool.py",
    "tests/test_schema.py", "tests/test_rubric.py", "tests/test_registry.py", "tests/test_task.py",
    "tests/test_task_rows.py", "tests/test_versions.py", "tests/compat",
    "tests/dialect", "tests/envs", "tests/http",
    "tests/rollout/test_engine.py", "tests/rollout/test_openai_chat.py",
    "tests/rollout/test_play.py", "tests/rollout/test_vllm_policy.py",
    "tests/sandbox/test_run.py", "tests/sandbox/test_levels.py", "tests/sandbox/test_session.py",
    "tests/sandbox/server",
    "tests/grading/test_math_grader.py", "tests/grading/test_math_parity.py",
    "tests/grading/test_pool.py", "tests/grading/calls", "tests/grading/code",
    "tests/grading/instructions", "tests/tools",
)  # fmt: skip
"""What runs without torch."""

TRAINING = (
    "tests/rollout/test_transformers_policy.py", "tests/rollout/test_stop_strings.py",
    "tests/grading/reward/test_classifier.py", "tests/training/test_async_rollouts.py",
    "tests/training/test_cold_start.py", "tests/training/test_recipe.py",
    "tests/training/test_rollouts.py", "tests/training/test_sampling.py",
    "tests/training/test_tiny_tokenizer.py", "tests/training/test_weight_sync.py",
    "tests/training/test_run.py::test_real_problems_run_through",
    "tests/training/test_run.py::test_what_the_recipe_says_of_learning_reaches_the_trainer",
)  # fmt: skip
"""What needs the extra `train`; its last but one is a short run of the whole path."""
