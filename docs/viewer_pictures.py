"""The pictures of `qwq view`: python docs/viewer_pictures.py RUN [HOSTILE_FILE]

Writes pages/pictures/viewer-*.png: of RUN (a run's folder) the table, an episode, its tokens, its
group, a phone and the dark; of a file of hostile episodes the transcript.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from _chromium import Chromium, find_chromium  # noqa: E402

from qwq_env.cli import main as qwq  # noqa: E402

SIZE = {"width": 1200, "height": 720}
PHONE = {"width": 390, "height": 760, "phone": True}
DRAWN = "document.querySelector('a.row, .part.first, .flow span, article .part, figure')"
# An episode of training that called a tool, of a group that is worth a look.
CHOSEN = "phase=grpo&sort=-calls&reward=1"


def main(arguments: list[str]) -> int:
    """Draw them all."""
    run, *hostile = map(Path, arguments)
    program = find_chromium()
    if program is None:
        print("no chromium is installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, Chromium(program) as browser:
        page = Path(folder) / "view.html"
        if code := qwq(["view", str(run), "--out", str(page)]):
            return code
        browser.look(**SIZE)
        browser.open(page, f"#/episodes?{CHOSEN}")
        name = browser.value("document.querySelector('.list a.row').getAttribute('href')")
        place = name.split("?")[0].removeprefix("#/episode/")
        for picture, where, look in (
            ("table", "#/episodes?phase=grpo&sort=-step", SIZE),
            ("episode", f"#/episode/{place}", SIZE),
            ("tokens", f"#/episode/{place}?tab=tokens&at=40", SIZE),
            ("group", f"#/group/{place}", SIZE),
            ("curves", "#/curves", SIZE),
            ("dark", f"#/episode/{place}", {**SIZE, "dark": True}),
            ("phone", f"#/episode/{place}", PHONE),
        ):
            _draw(browser, page, where, picture, look)
        if hostile:
            qwq(["view", str(hostile[0]), "--out", str(page)])
            browser.open(page)
            name = browser.value("document.querySelector('.list a.row').getAttribute('href')")
            _draw(browser, page, name, "hostile", SIZE)
        if browser.problems:
            print(json.dumps(browser.problems), file=sys.stderr)
            return 1
    return 0


def _draw(browser: Chromium, page: Path, where: str, name: str, look: dict[str, int]) -> None:
    browser.look(**look)
    browser.open(page, where)
    browser.until(DRAWN)
    time.sleep(0.4)  # a token that a link names is scrolled to when its place is known
    path = HERE / "pages" / "pictures" / f"viewer-{name}.png"
    browser.picture(path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(96).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
