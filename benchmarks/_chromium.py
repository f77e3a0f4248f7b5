"""A headless Chromium over its debugging pipe: just what looking at a page takes.

The browser reads commands from its descriptor 3 and writes answers to 4, a JSON object each with
a zero byte behind it (Chrome DevTools Protocol), so neither a port nor a package is needed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu",
    "--disable-extensions", "--disable-background-networking", "--disable-dev-shm-usage",
    "--disable-component-update", "--disable-sync", "--mute-audio", "--hide-scrollbars",
)  # fmt: skip
_KEYS: Final = {
    "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
    "End": 35, "Home": 36,
}  # fmt: skip


def find_chromium() -> str | None:
    """Return the path of a browser; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page; a context manager. Its console complained of `problems`."""

    def __init__(self, program: str, *, seconds: float = 60) -> None:
        """Start `program`; no command may take longer than `seconds`."""
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        quiet = os.open(os.devnull, os.O_RDWR)
        dup = os.POSIX_SPAWN_DUP2
        # By way of high numbers: a pipe's own end may be 3 or 4.
        high = [os.dup2(fd, 200 + n) for n, fd in enumerate((to_read, to_write))]
        self._process = os.posix_spawn(
            program,
            [program, *_FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"],
            os.environ,
            file_actions=[(dup, high[0], 3), (dup, high[1], 4), (dup, quiet, 1), (dup, quiet, 2)],
            setpgroup=0,
        )
        for descriptor in (to_read, to_write, quiet, *high):
            os.close(descriptor)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises `RuntimeError` for an error, and in time."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        for message in self._messages(time.monotonic() + self._seconds):
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
        raise RuntimeError(f"{method}: no answer within {self._seconds} s")

    def _messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        while (left := deadline - time.monotonic()) > 0:
            while b"\0" in self._buffer:
                line, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(line)
                self._note(message)
                yield message
            if select.select([self._from], [], [], left)[0]:
                more = os.read(self._from, 1 << 20)
                if not more:
                    raise RuntimeError("the browser ended")
                self._buffer += more

    def _note(self, message: dict[str, Any]) -> None:
        method, found = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = found["exceptionDetails"]
            self.problems.append(str(details.get("exception", {}).get("description", details)))
        elif method == "Runtime.consoleAPICalled" and found["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.problems.append(f"{found['type']}: {[a.get('value') for a in found['args']]}")
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.problems.append(found["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])

    def open(self, path: Path, place: str = "") -> None:
        """Open a file anew, at `place` (`#/...`)."""
        self.call("Page.navigate", url="about:blank")
        self.problems.clear()
        self.requests.clear()
        self.call("Page.navigate", url=path.resolve().as_uri() + place)
        self.until("document.querySelector('.page, #app > .loading:not(#reading)') !== null")

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", str(details)))
        return answer["result"].get("value")

    def until(self, expression: str, *, seconds: float = 10) -> None:
        """Wait until an expression holds, looked at after each frame. Raises `RuntimeError`."""
        self.value(
            "new Promise((yes, no) => { const end = performance.now() + "
            f"{1000 * seconds}; const look = () => {{ let held; try {{ held = {expression}; }} "
            "catch { held = false; } if (held) yes(true); else if (performance.now() > end) "
            f"no(new Error({json.dumps('never: ' + expression)})); else setTimeout(look, 8); }}; "
            "look(); })"
        )

    def text(self, selector: str) -> str:
        """Return the text of the first element that fits, "" for none."""
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def key(self, key: str) -> None:
        """Press a key: a character, or one of `_KEYS`."""
        press = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, 0)}
        text = {} if key in _KEYS else {"text": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", **press, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **press)

    def write(self, text: str) -> None:
        """Put text in where the focus is."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the first element that fits."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def look(
        self, *, width: int = 1360, height: int = 850, dark: bool = False, phone: bool = False
    ) -> None:
        """Set the size of the window, and what the reader prefers."""
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=scale, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Write a picture of what is seen."""
        self.value(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
