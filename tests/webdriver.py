"""Headless Chromium for tests, spoken to over the W3C WebDriver protocol (w3.org/TR/webdriver2)."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.stack import eventually

_LOG_ENTRY = "goog:loggingPrefs"


def missing() -> str:
    """What is not installed here, or nothing."""
    programs = {"chromedriver": ("chromedriver",), "Chromium": ("chromium", "google-chrome", "chrome")}
    absent = [name for name, names in programs.items() if not any(map(shutil.which, names))]
    return f"{' and '.join(absent)} not found: apt-get install chromium chromium-driver" if absent else ""


class Browser:
    """One window."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self._client = client
        self._path = path

    def open(self, url: str) -> None:
        """Load a page."""
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns, run in the page as a function's body."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int) -> None:
        """The window's size in CSS pixels."""
        self._post("/window/rect", {"width": width, "height": height})

    def devtools(self, command: str, **parameters: object) -> Any:
        """A command of the Chrome DevTools protocol."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console_errors(self) -> list[str]:
        """What the page complained of since the last call: exceptions, refused resources, violated policies."""
        entries = self._post("/se/log", {"type": "browser"})
        return [one["message"] for one in entries if one["level"] == "SEVERE"]

    def screenshot(self, file: Path) -> None:
        """The whole page, as PNG."""
        taken = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _post(self, path: str, body: dict[str, object]) -> Any:
        answer = self._client.post(self._path + path, json=body).json()["value"]
        if isinstance(answer, dict) and "error" in answer and "message" in answer:
            raise AssertionError(f"{path}: {answer['message']}")
        return answer


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, ended on leaving."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            eventually(lambda: _answers(client), timeout=30)
            session = client.post("/session", json={"capabilities": {"alwaysMatch": _capabilities()}}).json()
            path = f"/session/{session['value']['sessionId']}"
            try:
                yield Browser(client, path)
            finally:
                # Ends the browser, which would outlive its driver otherwise.
                client.delete(path).raise_for_status()
    finally:
        left = psutil.Process(driver.pid).children(recursive=True)
        driver.terminate()
        driver.wait(30)
        _, left = psutil.wait_procs(left, timeout=10)
        for process in left:
            process.kill()


def _answers(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/status").json()["value"]["ready"])
    except httpx.TransportError:
        return False


def _capabilities() -> dict[str, object]:
    arguments = [
        "--headless=new",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium does not sandbox root; in containers tests run as root
    return {
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        _LOG_ENTRY: {"browser": "ALL"},
    }
