"""What docs/forms.md shows runs as it stands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.reward.forms import paths

from ..processes import process
from ..serving import DIGITS
from .asking import Asking

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/forms.md").read_text()
LINES = re.findall(r"^curl localhost:8000.*$", TEXT, re.MULTILINE)
ROWS = [row.strip("| ").split(" | ") for row in re.findall(r"^\| .*<form>.*$|^\| .*paths\.py.*$", TEXT, re.MULTILINE)]
FORMS = ("slime", "openrlhf", "sglang", "tei", "vllm")


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    folder, forms = tmp_path_factory.mktemp("server"), {"address": "127.0.0.1:0"}
    with process(folder / "s", models=[DIGITS], forms=forms) as server, Asking(server.forms_address) as ask:
        yield ask


@pytest.mark.parametrize("line", LINES)
def test_a_curl_line_is_answered(ask: Asking, line: str):
    _, address, *rest = shlex.split(line)
    path = address.removeprefix("localhost:8000")
    reply = ask.post(path, rest[1].encode()) if rest else ask.get(path)
    assert reply.status_code == 200, reply.text


def test_every_path_is_told_and_shown():
    assert [path for path in paths.FORMS if f"`{path}`" not in TEXT] == []
    shown = {line.split()[1].removeprefix("localhost:8000") for line in LINES}
    twins = {"/score", "/v1/rerank", "/slime/rendered", "/v1/classify"}
    assert set(paths.FORMS) - shown == twins


def test_the_lines_that_a_form_takes_are_counted():
    folder = ROOT / "services/plaudit/reward/forms"
    lines = [str(len((folder / f"{form}.py").read_text().splitlines())) for form in FORMS]
    used = (folder / "paths.py").read_text()
    rows = [str(len(re.findall(rf'^    "/.*\b{form}\.', used, re.MULTILINE))) for form in FORMS]
    tests = [str(len((Path(__file__).parent / f"test_{form}.py").read_text().splitlines())) for form in FORMS]
    assert [row[2:] for row in ROWS] == [lines, rows, tests]
