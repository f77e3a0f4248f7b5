"""The pictures of an evaluation: python docs/evaluation_pictures.py RUN OTHER

RUN and OTHER are folders of `qwq eval` with several benchmarks in each. Writes
pages/pictures/evaluation-*.png: of the first benchmark of RUN the report from its top, its telling
episodes, a phone and the dark; of both the page and the bars of `qwq compare`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pages" / "pictures"
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from _chromium import Chromium, find_chromium  # noqa: E402

from qwq_env.cli import main as qwq  # noqa: E402

SIZE = {"width": 1100, "height": 900}
PHONE = {"width": 390, "height": 760, "phone": True}
_SECTION = "[...document.querySelectorAll('h2')].find((each) => each.textContent === %s)"


def main(arguments: list[str]) -> int:
    """Draw them all."""
    first, second = map(Path, arguments)
    program = find_chromium()
    if program is None:
        print("no chromium is installed", file=sys.stderr)
        return 1
    report = sorted(first.rglob("report.html"), key=lambda path: -len(path.parts))[0]
    with tempfile.TemporaryDirectory() as folder, Chromium(program) as browser:
        page, bars = Path(folder) / "comparison.html", PICTURES / "evaluation-bars.png"
        if code := qwq(
            ["compare", str(first), str(second), "--html", str(page), "--bars", str(bars)]
        ):
            return code
        smaller(bars)
        draw(browser, report, "report", SIZE)
        draw(browser, report, "telling", SIZE, "Telling episodes")
        draw(browser, report, "dark", {**SIZE, "dark": True}, "Right and wrong")
        draw(browser, report, "phone", PHONE)
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
            f" {place}.scrollIntoView()"
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
