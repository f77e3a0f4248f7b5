"""Run by the interpreter that has lm-eval: rows on stdin, its verdicts on stdout.

Needs the environment variable NLTK_DATA to name a directory with `tokenizers/punkt_tab/english`.
"""

import json
import logging
import random
import sys

import langdetect
from lm_eval.tasks.ifeval import utils

logging.disable(logging.ERROR)
langdetect.DetectorFactory.seed = 0


def main() -> None:
    for line in sys.stdin:
        row = json.loads(line)
        example = utils.InputExample(
            key=0,
            instruction_id_list=row["instruction_id_list"],
            prompt=row["prompt"],
            kwargs=row["kwargs"],
        )
        random.seed(0)
        strict = utils.test_instruction_following_strict(example, row["response"])
        random.seed(0)
        loose = utils.test_instruction_following_loose(example, row["response"])
        verdicts = [strict.follow_instruction_list, loose.follow_instruction_list]
        print(json.dumps(verdicts))


main()
