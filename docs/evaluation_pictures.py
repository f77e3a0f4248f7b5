"""The pictures of an evaluation: python docs/evaluation_pictures.py AIME24.jsonl

Two made-up models answer the problems (QwenLM/QwQ, eval/data), four times each, as a seed has it;
`qwq eval` and `qwq compare` do the rest. Writes pages/pictures/evaluation-*.png: the report from
its top, a telling episode, the page and the bars of a comparison.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pages" / "pictures"
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from _chromium import Chromium, find_chromium  # noqa: E402

from qwq_env.cli import main as qwq  # noqa: E402

SIZE = {"width": 1100, "height": 900}
MODELS = ("model-1", "model-2")
SAMPLES = 4
THOUGHTS = (
    "Let me write down what is known.", "Call the unknown x.", "That gives an equation in x.",
    "Wait, the units do not fit.", "Let me check this with a small case.", "So far so good.",
)  # fmt: skip
_SECTION = "[...document.querySelectorAll('h2')].find((each) => each.textContent === %s)"


def main(arguments: list[str]) -> int:
    """Play, compare, draw."""
    [data] = map(Path, arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for number, model in enumerate(MODELS):
            play(model, number, data, folder)
        return draw_all(folder)


def play(model: str, number: int, data: Path, folder: Path) -> None:
    """Answer every problem some times and have it judged; a later model is a better one."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    answers = folder / f"{model}.jsonl"
    lines = [json.dumps({"prompt": row["prompt"], "gen": said(row, number)}) for row in rows]
    answers.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["eval", "aime24", "--data", str(data), "--answers", str(answers)]
    qwq([*command, "--out", str(folder / model), "--json"])


def said(row: dict[str, Any], number: int) -> list[str]:
    """Return the samples to a problem: right as often as it is easy, now and then no answer."""
    hard = random.Random(row["prompt"]).random()
    draw = random.Random(f"{number} {row['prompt']}")
    samples = []
    for _ in range(SAMPLES):
        right = draw.random() < 1.25 - hard - 0.25 * (1 - number)
        thought = " ".join([draw.choice(THOUGHTS) for _ in range(draw.randrange(3, 40))])
        wrong = draw.choice(
            [f"\\boxed{{{int(row['answer']) * 100}}}", "\\boxed{204}", "I give up."]
        )
        answer = f"So the answer is \\boxed{{{row['answer']}}}." if right else wrong
        samples.append(f"<think>\n{thought}\n</think>\n\n{answer}")
    return samples


def draw_all(folder: Path) -> int:
    """Draw the report of the second model, and both compared."""
    program = find_chromium()
    if program is None:
        print("no chromium is installed", file=sys.stderr)
        return 1
    first, second = (folder / model for model in MODELS)
    page, bars = folder / "comparison.html", PICTURES / "evaluation-bars.png"
    qwq(["compare", str(first), str(second), "--html", str(page), "--bars", str(bars)])
    smaller(bars)
    report = second / "report.html"
    with Chromium(program) as browser:
        draw(browser, report, "report", SIZE)
        draw(browser, report, "telling", SIZE, "Telling episodes")
        draw(browser, page, "comparison", SIZE)
        if browser.problems:
            print(json.dumps(browser.problems), file=sys.stderr)
            return 1
    return 0


def draw(
    browser: Chromium, page: Path, name: str, look: dict[str, int], section: str | None = None
) -> None:
    """Draw a page from its top, or from a section on, whose first episodes are opened."""
    browser.look(**look)
    browser.call("Page.navigate", url=page.resolve().as_uri())
    browser.until("document.readyState === 'complete' && document.querySelector('h1')")
    if section is not None:
        place = _SECTION % json.dumps(section)
        browser.value(
            f"{place}.parentElement.querySelectorAll('details')[0]?.setAttribute('open', '');"
            f" {place}.scrollIntoView(); scrollBy(0, -16)"
        )
    path = PICTURES / f"evaluation-{name}.png"
    browser.picture(path)
    smaller(path)


def smaller(path: Path) -> None:
    """Write a picture again with as many colours as it needs."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(96).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
