import pytest


@pytest.fixture(params=[60, 80])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for name, value in {"COLUMNS": request.param, "LINES": 25, "TERM": "xterm"}.items():
        monkeypatch.setenv(name, str(value))
    return int(request.param)
