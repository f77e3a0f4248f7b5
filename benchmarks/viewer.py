"""`qwq bench viewer`: how large `qwq view`'s page is, and how fast a browser opens and searches it.

Made-up runs of 10,000 episodes, of 1,000 episodes of 4,000 tokens, and one episode of 128,000
(`_viewer_episodes.py`) are stored, viewed, and opened in a headless Chromium from the disk:

- `write_seconds`: `qwq view` from the stored run; `megabytes`, `bytes_per_token`: the page's file;
- `open_ms`: from the start of the navigation until the table is drawn;
- `index_ms`: until all text can be searched, which goes on in the background;
- `search_ms`: from a search's last letter to the next frame with the new table, for words that many
  episodes hold, few, and none; the largest of some repetitions is `search_ms_worst`;
- `transcript_ms`, `tokens_ms`: from the key or the link to the frame with the text or the tokens;
  `longest_task_ms`: the longest the page did not answer meanwhile, and while it was scrolled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

from _chromium import Chromium, find_chromium
from _result import run
from _viewer_episodes import Tokens, episodes

from qwq_env.errors import UsageError
from qwq_env.rollout.store import EpisodeStore

RUNS: Final = {
    "10,000 episodes": (10_000, 400),
    "1,000 episodes of 4k tokens": (1_000, 4_000),
    "1 episode of 128k tokens": (1, 128_000),
}
QUERIES: Final = ("the", "attribute", "exec", "garbage collection", "no episode says this", "q")
REPEATED: Final = 3

_SEARCH: Final = """
async (query) => {
  const box = document.querySelector('.search');
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  set.call(box, '');
  box.dispatchEvent(new Event('input', {bubbles: true}));
  await frame();
  const began = performance.now();
  set.call(box, query);
  box.dispatchEvent(new Event('input', {bubbles: true}));
  await frame();
  return [performance.now() - began, document.querySelector('.count').textContent];
}
"""
_TASKS: Final = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({type: 'longtask'});
"""
_SCROLL: Final = """
(async (selector) => {
  const box = document.querySelector(selector);
  for (let part = 0; part <= 20; part++) {
    box.scrollTop = (box.scrollHeight * part) / 20;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  }
})
"""


def main(argv: Sequence[str]) -> None:
    """Measure and deliver."""
    parser = argparse.ArgumentParser(prog="qwq bench viewer", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the episodes (1)")
    parser.add_argument(
        "--folder", type=Path, help="keep the made-up runs there, for the next time"
    )
    parser.add_argument("--make", action="store_true", help="make the runs and end")
    run(parser, argv, _measure, _table)


def _measure(options: argparse.Namespace) -> Mapping[str, Any]:
    program = find_chromium()
    if program is None:
        raise UsageError("chromium: none is installed; expected one on the path")
    if options.make:
        return {"runs": {name: _made(name, options.folder, options.scale) for name in RUNS}}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, Chromium(program, seconds=120) as browser:
        version = browser.call("Browser.getVersion")["product"]
        folder = options.folder or Path(scratch)
        for name, (number, _) in RUNS.items():
            sys.stderr.write(f"{name} ...\n")
            made = _made(name, folder, options.scale)
            path = _path(name, folder)
            found[name] = made | _written(path, made["tokens"])
            found[name] |= _opened(browser, path / "view.html", long=number == 1)
    return {"runs": found, "versions": {"browser": version}}


def _path(name: str, folder: Path) -> Path:
    return folder / name.replace(" ", "-")


def _made(name: str, folder: Path, scale: float) -> dict[str, Any]:
    """Store a run unless it is there; return its episodes and tokens."""
    number, tokens = max(1, round(RUNS[name][0] * scale)), RUNS[name][1]
    path = _path(name, folder)
    if (path / "made.json").exists():
        return dict(json.loads((path / "made.json").read_text()))
    vocabulary, total = Tokens(), 0
    with EpisodeStore(path / "episodes.jsonl", vocabulary) as store:
        for trajectory, step in episodes(number, tokens, vocabulary):
            total += len(trajectory.ids)
            store.append(trajectory, phase="grpo", step=step)
    made = {"episodes": number, "tokens": total}
    (path / "made.json").write_text(json.dumps(made))
    return made


def _written(folder: Path, tokens: int) -> dict[str, Any]:
    command = [sys.executable, "-c", "import sys; from qwq_env.cli import main; sys.exit(main())"]
    began = time.perf_counter()
    subprocess.run([*command, "view", str(folder)], check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - began
    size = (folder / "view.html").stat().st_size
    return {
        "write_seconds": round(seconds, 1),
        "megabytes": round(size / 1e6, 2),
        "bytes_per_token": round(size / tokens, 2),
    }


def _opened(browser: Chromium, page: Path, *, long: bool) -> dict[str, Any]:
    marks = []
    for _ in range(REPEATED):
        browser.open(page)
        browser.until("performance.getEntriesByName('indexed').length > 0", seconds=120)
        names = json.dumps(["drawn", "indexed"])
        marks.append(
            browser.value(f"{names}.map((n) => performance.getEntriesByName(n)[0].startTime)")
        )
    drawn, indexed = (round(median(times)) for times in zip(*marks, strict=True))
    searches = _searches(browser)
    found = {"open_ms": drawn, "index_ms": indexed, **searches}
    if long:
        found |= _read(browser)
    if browser.problems:
        raise RuntimeError(f"the console says: {browser.problems[0]}")
    return found


def _searches(browser: Chromium) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for query in QUERIES:
        answers = [browser.value(f"({_SEARCH})({json.dumps(query)})") for _ in range(REPEATED)]
        told[query] = {"ms": round(median(ms for ms, _ in answers), 1), "found": answers[0][1]}
    worst = max(one["ms"] for one in told.values())
    browser.value(f"({_SEARCH})('')")
    return {"search_ms": told, "search_ms_worst": worst}


def _read(browser: Chromium) -> dict[str, Any]:
    """Open the only episode, and scroll through its text and its tokens."""
    browser.value(_TASKS)
    began = browser.value("performance.now()")
    browser.key("Enter")
    browser.until("document.querySelector('.part.thinking')")
    transcript = browser.value("performance.now()") - began
    browser.value(f"{_SCROLL}('.transcript .scroll')")
    began = browser.value("performance.now()")
    browser.key("2")
    browser.until("document.querySelector('.flow span')")
    tokens = browser.value("performance.now()") - began
    browser.value(f"{_SCROLL}('.flow')")
    return {
        "transcript_ms": round(transcript),
        "tokens_ms": round(tokens),
        "longest_task_ms": round(browser.value("window.longest")),
    }


def _table(result: Mapping[str, Any]) -> str:
    columns = (
        "megabytes", "bytes_per_token", "write_seconds", "open_ms", "index_ms", "search_ms_worst",
        "transcript_ms", "tokens_ms", "longest_task_ms",
    )  # fmt: skip
    lines = [f"{'':<29}" + "".join(f"{name:>17}" for name in columns)]
    for name, found in result["runs"].items():
        values = "".join(f"{found.get(column, ''):>17}" for column in columns)
        lines.append(f"{name:<29}{values}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
