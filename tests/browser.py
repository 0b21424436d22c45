"""A page in a real browser: headless Chromium, driven over its DevTools protocol through a pipe; no package needed.

    python tests/browser.py REPORT.html PICTURE.png [--dark] [--height PIXELS]

draws a page as docs/images has it. Chrome DevTools Protocol: Page, Runtime, Log, Network and Emulation domains.
"""

import argparse
import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterparts import find

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
"""What the browser is called."""

KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " "), "ArrowDown": (40, ""), "Escape": (27, "")}
"""Name of a key -> its number, and what it writes."""

WIDTH = 1120
SECONDS = 60.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_FIRST_FREE = 10


class Page:
    """One tab. problems: what its console and its log said; requests: every address that it asked for."""

    def __init__(self, commands: int, answers: int) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last = 0
        self._loaded = False
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, address: str, *, dark: bool = False, width: int = WIDTH, height: int = 900) -> None:
        """Load a page on a screen of this size, light or dark, and wait until it has loaded."""
        self.screen(dark=dark, width=width, height=height)
        self._loaded = False
        self._call("Page.navigate", url=address)
        deadline = time.monotonic() + SECONDS
        while not self._loaded:
            self._read(deadline)

    def screen(self, *, dark: bool = False, width: int = WIDTH, height: int = 900) -> None:
        """Another screen, for the page that is open and those to come."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def press(self, key: str) -> None:
        """One key, down and up: a letter or digit, or one of KEYS by its name."""
        code, text = KEYS.get(key, (ord(key.upper()[0]), key))
        more = {"key": key, "windowsVirtualKeyCode": code, "nativeVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **more)
        self._call("Input.dispatchKeyEvent", type="keyUp", **more)

    def write(self, text: str) -> None:
        """What is typed where the focus is."""
        self._call("Input.insertText", text=text)

    def block(self, *addresses: str) -> None:
        """No page gets an answer from these, * for anything, until others are named."""
        self._call("Network.setBlockedURLs", urls=list(addresses))

    def evaluate(self, expression: str, *, wait: bool = False) -> Any:
        """The value of a JavaScript expression in the page; the debugger may, the page's policy does not apply.

        Args:
            wait: the value is a promise, which is waited for.
        """
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, *, height: int | None = None) -> bytes:
        """A PNG of the whole page, or of its upper part."""
        whole = self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height or whole, whole), "scale": 1}
        answer = self._call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def printed(self, *, width: float = 8.27, height: float = 11.69) -> bytes:
        """A PDF of the page on sheets of this size in inches, A4 unless told."""
        sheet = {"paperWidth": width, "paperHeight": height}
        answer = self._call("Page.printToPDF", printBackground=False, preferCSSPageSize=False, **sheet)
        return base64.b64decode(answer["data"])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        command: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._read(deadline)
            if message.get("id") == self._last:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next message; events are noted."""
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))
            part = os.read(self._answers, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("Chromium did not answer, or ended")
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, facts: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif event == "Log.entryAdded":
            self.problems.append(f"{facts['entry']['level']}: {facts['entry']['text']}")
        elif event == "Runtime.consoleAPICalled":
            self.problems.append(f"{facts['type']}: {facts['args']}")
        elif event == "Runtime.exceptionThrown":
            self.problems.append(str(facts["exceptionDetails"]))


@contextlib.contextmanager
def browser(program: str) -> Iterator[Page]:
    """Start Chromium with an empty profile and one tab; it ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, contextlib.ExitStack() as opened:
        its_commands, commands = _pipe(opened)
        answers, its_answers = _pipe(opened)

        def place() -> None:  # The protocol's pipes are file descriptors 3 and 4.
            os.dup2(its_commands, 3)
            os.dup2(its_answers, 4)

        running = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=place,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Page(commands, answers)
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe's reading and writing end, away from the numbers that the browser needs."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))
        opened.callback(os.close, ends[-1])
        os.close(end)
    return ends[0], ends[1]


def main() -> None:
    """Draw one page."""
    parser = argparse.ArgumentParser(description="Draw a page as a PNG with headless Chromium.")
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--height", type=int)
    given = parser.parse_args()
    program = find(*CHROMIUM)
    if program is None:
        parser.error("no Chromium is installed; tests/counterparts/install brings it")
    with browser(program) as page:
        page.open(given.page.resolve().as_uri(), dark=given.dark, width=given.width)
        given.picture.write_bytes(page.picture(height=given.height))
    if page.problems:
        parser.exit(1, "\n".join(page.problems) + "\n")


if __name__ == "__main__":
    main()
