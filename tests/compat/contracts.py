"""The contract tests: those of what the libraries below give us and what Python itself does.

Few enough for two minutes an environment: what is only our own logic runs in `make test`.
"""

from __future__ import annotations

CORE = (
    "tests/test_env.py", "tests/test_gymnasium.py", "tests/test_toolbox.py", "tests/test_tool.py",
    "tests/test_registry.py", "tests/test_versions.py",
    "tests/schema/test_schema.py", "tests/dialect/test_codec.py",
    "tests/dialect/test_codec_families.py",
    "tests/dialect/test_parse_qwq.py", "tests/dialect/test_qwq_template.py",
    "tests/http/test_chat_calls.py", "tests/http/test_proxies.py",
    "tests/rollout/test_engine.py", "tests/rollout/test_openai_chat.py",
    "tests/rollout/test_vllm_policy.py",
    "tests/sandbox/test_run.py", "tests/sandbox/test_levels.py",
    "tests/sandbox/server/test_client.py",
    "tests/grading/test_math_grader.py", "tests/grading/test_pool.py",
    "tests/grading/calls/test_match.py", "tests/grading/code/test_code_grader.py",
    "tests/grading/instructions/test_checks.py",
    "tests/tools/test_calculator.py", "tests/tools/test_mcp.py", "tests/tools/test_python.py",
    "tests/tools/test_search.py",
)  # fmt: skip
"""What runs without torch."""

TRAINING = (
    "tests/rollout/test_transformers_policy.py", "tests/grading/reward/test_classifier.py",
    "tests/training/test_async_rollouts.py", "tests/training/test_recipe.py",
    "tests/training/test_rollouts.py", "tests/training/test_sampling.py",
    "tests/training/test_tiny_tokenizer.py", "tests/training/test_weight_sync.py",
    "tests/training/test_run.py::test_real_problems_run_through",
    "tests/training/test_run.py::test_what_the_recipe_says_of_learning_reaches_the_trainer",
)  # fmt: skip
"""What needs the extra `train`; its last but one is a short run of the whole path."""
