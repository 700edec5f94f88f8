import json
import logging

import pytest

from plaudit.telemetry import logs


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("plaudit").setLevel(logging.NOTSET)


def test_a_line_is_an_object_with_its_request(capsys: pytest.CaptureFixture[str]):
    logs.configure()
    token = logs.request_id.set("abc")
    logging.getLogger("plaudit.reward").info("scored", extra={"items": 4})
    logs.request_id.reset(token)
    logging.getLogger("plaudit.reward").info("idle")
    scored, idle = map(json.loads, capsys.readouterr().err.splitlines())
    assert (scored["event"], scored["items"], scored["request_id"]) == ("scored", 4, "abc")
    assert "request_id" not in idle


def test_a_traceback_stays_on_its_line(capsys: pytest.CaptureFixture[str]):
    logs.configure()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("plaudit").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]
