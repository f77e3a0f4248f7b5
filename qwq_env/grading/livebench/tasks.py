"""LiveBench's eighteen tasks, and what judges each.

Nothing is imported for the list: a judge that needs SymPy or pandas is loaded in the worker.
"""

from collections.abc import Mapping

__all__ = ["CODING", "JUDGES", "RELEASE_DATE"]

RELEASE_DATE = "livebench_release_date"
"""The column that says by which of a task's rules a question is judged (`YYYY-MM-DD`)."""

CODING = "coding"

_HERE = "qwq_env.grading.livebench"

JUDGES: Mapping[tuple[str, str], str] = {
    ("math", "AMPS_Hard"): f"{_HERE}.math:amps_hard",
    ("math", "math_comp"): f"{_HERE}.math:math_competition",
    ("math", "olympiad"): f"{_HERE}.math:olympiad",
    ("reasoning", "web_of_lies_v2"): f"{_HERE}.reasoning:web_of_lies",
    ("reasoning", "zebra_puzzle"): f"{_HERE}.reasoning:zebra_puzzle",
    ("reasoning", "spatial"): f"{_HERE}.reasoning:spatial",
    ("language", "connections"): f"{_HERE}.language:connections",
    ("language", "plot_unscrambling"): f"{_HERE}.language:plot_unscrambling",
    ("language", "typos"): f"{_HERE}.language:typos",
    ("data_analysis", "cta"): f"{_HERE}.data_analysis:column_class",
    ("data_analysis", "tablejoin"): f"{_HERE}.data_analysis:table_join",
    ("data_analysis", "tablereformat"): f"{_HERE}.tables:table_reformat",
    ("instruction_following", "paraphrase"): f"{_HERE}.instruction_following:follow_instructions",
    ("instruction_following", "simplify"): f"{_HERE}.instruction_following:follow_instructions",
    ("instruction_following", "story_generation"): (
        f"{_HERE}.instruction_following:follow_instructions"
    ),
    ("instruction_following", "summarize"): f"{_HERE}.instruction_following:follow_instructions",
    (CODING, "LCB_generation"): f"{_HERE}.coding:grade_program",
    (CODING, "coding_completion"): f"{_HERE}.coding:grade_program",
}
"""Category and task → `module:function` of `(question, answer) -> Score`; coding's is a coroutine
that takes a `CodeGrader` before them."""
