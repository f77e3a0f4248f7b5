"""IFBench's instructions: 56 of the 58 of Pyatkin et al. (2025), with nothing to download.

The checks are written from what the benchmark says of each and what its evaluation pays. They lean
on the same sentences and words as IFEval's, so they agree with NLTK's where those do. Two rules
that nothing short of a trained model can decide are in `NOT_CHECKED`.
"""

from qwq_env.grading.instructions.ifbench import answers, layout, sentences, words
from qwq_env.grading.instructions.ifbench.substance import SUBSTANCE

__all__ = ["CHECKS", "NOT_CHECKED", "SUBSTANCE"]

CHECKS = {**words.CHECKS, **sentences.CHECKS, **layout.CHECKS, **answers.CHECKS}

NOT_CHECKED = {
    "words:start_verb": "it takes a tagger of parts of speech",
    "words:odd_even_syllables": "it takes a dictionary of syllables",
}
"""What is not known here, and why: a guess would pay for luck."""
