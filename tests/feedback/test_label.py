"""`plaudit label` as it is typed."""

import json
import random
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from plaudit.cli import main
from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Rating

from .labelling import labelling

ROW = {"prompt": "Prompt that stays secret", "responses": ["Answer one, secret", "Answer two, secret"], "id": "a/1"}


@pytest.fixture
def settings(tmp_path: Path) -> str:
    (tmp_path / "tasks.jsonl").write_text(json.dumps(ROW) + "\n")
    path = tmp_path / "label.yaml"
    path.write_text(
        f"database: sqlite:///{tmp_path}/judgements.db\n"
        f"tasks: [{{kind: compare, wanted: 2, data: {{source: {tmp_path}/tasks.jsonl}}}}]\n"
    )
    return str(path)


def store(tmp_path: Path) -> Store:
    return Store(open_database(f"sqlite:///{tmp_path}/judgements.db"))


def test_tasks_are_added_once_and_people_sign_in_by_their_link(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", settings, "add"]) == 0
    assert main(["label", settings, "add"]) == 0
    assert "1 tasks, 0 of them new" in capsys.readouterr().err
    assert main(["label", settings, "invite", "person=Ada", "url=https://label.example.org/"]) == 0
    link = capsys.readouterr().out.strip()
    assert link.startswith("https://label.example.org/in#")
    ada = store(tmp_path).sign_in(link.partition("#")[2])
    assert ada is not None
    assert ada.name == "Ada"


def test_what_was_said_elsewhere_comes_in_and_goes_out(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "p", "response": f"r{at}", "score": 1 + at % 5, "annotator": "Bob"} for at in range(7)]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for new in (7, 0):
        assert main(["label", settings, "import", f"data.source={log}"]) == 0
        assert f"7 judgements, {new} of them new" in capsys.readouterr().out
    out = tmp_path / "out" / "ratings.jsonl"
    assert main(["label", settings, "export", "form=ratings", f"path={out}"]) == 0
    exported = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["response"], row["score"], row["annotator"]) for row in exported] == [
        (row["response"], row["score"], "Bob") for row in rows
    ]
    assert main(["label", settings, "report"]) == 0
    assert "Bob" in capsys.readouterr().out


def test_rows_weigh_as_much_as_who_judged_can_be_relied_on(settings: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    people = {"careful": 0.95, "good": 0.85, "fair": 0.8, "guesses": 0.5}
    rows = [
        {"prompt": f"p{at}", "response": "r", "thumb": draw.random() < right, "annotator": name}
        for at in range(200)
        for name, right in people.items()
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["label", settings, "import", f"data.source={log}"]) == 0
    out = tmp_path / "thumbs.jsonl"
    assert main(["label", settings, "export", "form=thumbs", f"path={out}", "weights=true"]) == 0
    weights = {row["annotator"]: row["weight"] for row in map(json.loads, out.read_text().splitlines())}
    assert sorted(weights, key=weights.__getitem__, reverse=True) == list(people)
    assert weights["guesses"] < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "no action 'evaluate': terminal, invite, add, import, export, report"),
        (["invite"], "key 'person' is missing"),
        (["export", "form=votes", "path=x"], "'form' is 'votes'"),
        (["import"], "give either data.source=FILE or label_studio=FILE"),
        (["database=mysql://x"], "database 'mysql': sqlite or postgresql"),
        (["address=0.0.0.0:1"], "address 0.0.0.0:1 can be reached from other machines and what people send it"),
        (["tasks=[{kind: vote, data: {source: x}}]"], "tasks.0.kind"),
        (["ready_file=/nowhere/at/all"], "ready_file"),
    ],
)
def test_what_is_wrong_is_one_line(
    settings: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", settings, *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1, told


def test_a_port_that_is_taken_is_said_in_one_line(settings: str, tmp_path: Path) -> None:
    with labelling(tmp_path / "..", f"sqlite:///{tmp_path}/other.db") as service:
        command = [sys.executable, "-m", "plaudit.cli", "label", settings, f"address={service.address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "choose another address" in done.stderr


def test_it_goes_down_when_told_and_wrote_no_word_of_anybody(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/judgements.db"
    (tmp_path / "tasks.jsonl").write_text(json.dumps(ROW) + "\n")
    tasks = f"tasks=[{{kind: compare, data: {{source: {tmp_path}/tasks.jsonl}}}}]"
    token = Store(open_database(url)).add_person("Ada")
    with labelling(tmp_path, url, tasks) as service:
        with httpx.Client(base_url=service.url, cookies={"plaudit-label": token}) as browser:
            assert "secret" in browser.get("/").text
            assert browser.post("/judge", data={"assignment": "1", "choice": "9"}).status_code == 422
            assert browser.get("/nothing").status_code == 404
        assert service.stop() == 0
        said = service.log.read_text()
        assert "secret" not in said
        assert token not in said


def test_killed_and_begun_again_it_has_all_that_was_said(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/judgements.db"
    rows = "".join(json.dumps({"prompt": f"p{at}", "response": "r"}) + "\n" for at in range(4))
    (tmp_path / "tasks.jsonl").write_text(rows)
    token = Store(open_database(url)).add_person("Ada")
    with labelling(tmp_path, url, f"tasks=[{{kind: rating, data: {{source: {tmp_path}/tasks.jsonl}}}}]") as service:
        for stars in range(1, 5):
            with httpx.Client(base_url=service.url, cookies={"plaudit-label": token}) as browser:
                page = browser.get("/").text
                assignment = page.partition('data-assignment="')[2].partition('"')[0]
                form = {"assignment": assignment, "submission": f"s{stars}", "choice": str(stars)}
                assert browser.post("/judge", data=form).status_code == 303
                service.kill()
                service.start()
                assert browser.post("/judge", data=form).status_code == 303, "the browser that heard nothing asks again"
    assert [said.verdict for said in Store(open_database(url)).judged()] == [Rating(at) for at in range(1, 5)]
