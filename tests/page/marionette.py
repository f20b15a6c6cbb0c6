"""Drives Firefox without anything but Firefox: by Marionette, which is messages of JSON over a socket."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

PREFERENCES = {
    "marionette.port": 0,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 1,  # nothing leaves: the proxy is not there
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
_PATIENCE = 120.0  # seconds


class Marionette:
    """A session with Firefox."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._file = self._socket.makefile("rb")
        self._number = 0
        self._receive()
        self.send("WebDriver:NewSession", {})
        self.send("WebDriver:SetTimeouts", {"script": 1000 * _PATIENCE, "pageLoad": 1000 * _PATIENCE})

    def send(self, command: str, parameters: dict[str, Any]) -> Any:
        """Return what a command returns."""
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self._receive()
        assert number == self._number
        assert error is None, error
        return result

    def open(self, url: str) -> None:
        self.send("WebDriver:Navigate", {"url": url})

    def run(self, expression: str, *arguments: Any) -> Any:
        """Return what an expression of JavaScript comes to, as JSON; it may be a promise. `given` are the arguments."""
        script = (
            "const done = arguments[arguments.length - 1]; const given = JSON.parse(arguments[0]);"
            f"Promise.resolve({expression})"
            ".then((value) => done({ value: JSON.stringify(value) }), (problem) => done({ problem: String(problem) }));"
        )
        found = self.send(
            "WebDriver:ExecuteAsyncScript", {"script": script, "args": [json.dumps(arguments)], "sandbox": None}
        )["value"]
        assert "problem" not in found, found
        return json.loads(found["value"]) if found.get("value") else None

    def close(self) -> None:
        """End the session."""
        self._file.close()
        self._socket.close()

    def _receive(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            byte = self._file.read(1)
            assert byte, "Firefox has gone"
            length += byte
        return json.loads(self._file.read(int(length[:-1])))


@contextmanager
def firefox(program: str, folder: Path) -> Iterator[Marionette]:
    """Start Firefox without a window, with a profile of its own in a folder."""
    profile = folder / "profile"
    profile.mkdir()
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
    command = [program, "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with closing(Marionette(_port(process))) as session:
                yield session
        finally:
            process.terminate()


def _port(process: "subprocess.Popen[bytes]") -> int:
    """Return the port that Firefox says it listens on; what it says later fits in the pipe."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(rb"Marionette\s.*Listening on port (\d+)", line):
            return int(found[1])
    raise AssertionError("Firefox does not start")
