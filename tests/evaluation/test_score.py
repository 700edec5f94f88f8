"""`plaudit score` against the fake reward server, through the command line."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from plaudit.cli import main
from plaudit_client import ModelInfo, ModelLimits, Provenance, ScoreFailure, ScoreItem
from plaudit_client.fake import MODEL, FakeRewardServer

ROWS = [
    {"id": "a", "prompt": "p", "response": "one"},
    {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "two"}]},
    {"id": "c", "prompt": [{"role": "user", "content": "p"}], "response": "three", "finish_reason": "length"},
    {"prompt": "p", "response": ""},
]


def response(item: ScoreItem) -> str:
    return item.input.messages[-1].content if hasattr(item.input, "messages") else item.input.response


def length(item: ScoreItem) -> float:
    return float(len(response(item)))


def fails_on(word: str):
    failure = ScoreFailure("", "INPUT_TOO_LONG", "the input has 900 tokens", "INVALID_ARGUMENT")
    return lambda item: failure if response(item) == word else length(item)


class Files:
    """Settings, data and output of one run."""

    def __init__(self, folder: Path, rows: list[dict]):
        self.data, self.output, self.settings = folder / "rows.jsonl", folder / "out/scores.jsonl", folder / "s.yaml"
        self.write(rows)
        self.settings.write_text(f"data: {{source: {self.data}}}\noutput: {self.output}\n")

    def write(self, rows: list[dict]) -> None:
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def score(self, address: str, *overrides: str) -> int:
        return main(["score", str(self.settings), f"reward.address={address}", *overrides])

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path, ROWS)


def test_every_row_gets_a_line_that_says_who_scored_it(files, capsys):
    with FakeRewardServer(length) as server:
        assert files.score(server.address) == 0
        (items,) = server.requests
    assert [line["score"] for line in files.lines()] == [3.0, 3.0, 5.0, 0.0]
    assert [(line["row"], line["id"]) for line in files.lines()] == [(0, "a"), (1, "1"), (2, "c"), (3, "3")]
    assert all(line["model"]["name"] == MODEL.name for line in files.lines())
    assert [item.finish_reason for item in items] == [None, None, "length", None]
    assert [turn.role for turn in items[2].input.messages] == ["user", "assistant"]
    assert "4 of 4 rows scored, mean 2.7500" in capsys.readouterr().out


def test_a_row_that_fails_has_a_reason_and_no_number(files, capsys):
    with FakeRewardServer(fails_on("two")) as server:
        assert files.score(server.address) == 0
    failed = files.lines()[1]
    assert failed["error"]["reason"] == "INPUT_TOO_LONG"
    assert "score" not in failed
    assert "3 of 4 rows scored" in (out := capsys.readouterr().out)
    assert "without a score: 1 INPUT_TOO_LONG" in out


def test_a_run_is_taken_up_where_it_stopped(files):
    with FakeRewardServer(fails_on("two")) as server:
        files.score(server.address)
    with files.output.open("a") as output:
        output.write('{"row": 9, "sco')  # as a killed run leaves it
    with FakeRewardServer(length) as server:
        assert files.score(server.address) == 0
        assert [[item.item_id for item in items] for items in server.requests] == [["1"]]
    assert [line["score"] for line in files.lines()] == [3.0, 3.0, 5.0, 0.0]


def test_a_finished_run_asks_nothing_more_and_changes_nothing(files):
    with FakeRewardServer(length) as server:
        files.score(server.address)
        before = files.output.read_bytes()
        assert files.score(server.address) == 0
        assert len(server.requests) == 1
    assert files.output.read_bytes() == before


def test_scores_are_on_disk_before_the_next_batch_is_asked_for(files):
    on_disk = []

    def score(item: ScoreItem) -> float:
        on_disk.append(len(files.lines()))
        return length(item)

    with FakeRewardServer(score) as server:
        files.score(server.address, "batch_size=1")
    assert on_disk == [0, 1, 2, 3]


def test_an_interrupt_ends_it_at_once_and_keeps_what_is_scored(files):
    stuck, over = threading.Event(), threading.Event()

    def score(item: ScoreItem) -> float:
        if len(server.requests) > 2:
            stuck.set()
            over.wait(30)
        return length(item)

    with FakeRewardServer(score, model=ModelInfo(MODEL.name, "", MODEL.provenance, ModelLimits(max_items=1))) as server:
        command = [sys.executable, "-m", "plaudit.cli", "score", files.settings, f"reward.address={server.address}"]
        process = subprocess.Popen([*command, "batch_size=2"], stderr=subprocess.PIPE, text=True)
        assert stuck.wait(30)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=5)[1]
        over.set()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "plaudit score: interrupted"
    assert [line["row"] for line in files.lines()] == [0, 1]


def test_what_was_scored_before_the_server_went_away_is_kept(tmp_path, capsys):
    files = Files(tmp_path, [{"prompt": "p", "response": "r" * n} for n in range(6)])

    def score(item: ScoreItem) -> float:
        if len(server.requests) == 2:
            server.unavailable(calls=100)
        return length(item)

    with FakeRewardServer(score) as server:
        assert files.score(server.address, "batch_size=2", "reward.timeout_s=0.3") == 69
    assert [line["row"] for line in files.lines()] == [0, 1, 2, 3]
    error = capsys.readouterr().err.splitlines()[-1]
    assert "told to be unavailable" in error
    assert "goes on where this one stopped" in error


def test_scores_of_two_models_are_never_mixed(files, capsys):
    with FakeRewardServer(fails_on("two")) as server:
        files.score(server.address)
    other = Provenance("models/other/versions/1", "1", "ff", "", "", "float32")
    with FakeRewardServer(length, model=ModelInfo(other.name, "other", other)) as server:
        assert files.score(server.address) == 2
    assert f"holds scores by {MODEL.name}, not as models/other/versions/1" in capsys.readouterr().err
    assert len(files.lines()) == 4


def test_scores_of_other_rows_are_never_kept(files, capsys):
    with FakeRewardServer(length) as server:
        files.score(server.address)
        files.write([{"prompt": "p", "response": "changed"}, *ROWS[1:]])
        assert files.score(server.address) == 2
    assert "holds scores of other rows" in capsys.readouterr().err


def test_large_inputs_are_split_by_the_servers_limits(files):
    with FakeRewardServer(
        length, model=ModelInfo(MODEL.name, "", MODEL.provenance, ModelLimits(max_items=1))
    ) as server:
        assert files.score(server.address) == 0
        assert len(server.requests) == 4


def test_a_run_without_any_score_fails(files, capsys):
    with FakeRewardServer(lambda item: float("nan")) as server:
        assert files.score(server.address) == 1
    assert "no row has a score" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "p"}, "rows.jsonl:1: 'response' is missing"),
        ({"response": "r"}, "rows.jsonl:1: 'prompt' is missing"),
        ({"prompt": "p", "response": 3}, "rows.jsonl:1: 'response' must be text"),
        ({"messages": [{"role": "user", "content": "p"}]}, "the last one must be the assistant's"),
        ({"prompt": "p", "response": "r", "finish_reason": "eos"}, "rows.jsonl:1: 'finish_reason' must be"),
    ],
)
def test_a_malformed_row_is_named_before_anything_is_asked(tmp_path, capsys, row, complaint):
    assert Files(tmp_path, [row]).score("127.0.0.1:1") == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("notes", ["my notes\n", "my notes", '{"a": 1}\n', "\n"])
def test_an_output_that_is_something_else_is_left_alone(files, capsys, notes):
    files.output.parent.mkdir()
    files.output.write_text(notes)
    with FakeRewardServer(length) as server:
        assert files.score(server.address) == 2
    assert "scores.jsonl:1 was not written by `plaudit score`" in capsys.readouterr().err
    assert files.output.read_text() == notes


@pytest.mark.parametrize(
    ("overrides", "code", "complaint"),
    [
        (["reward.model=models/other"], 2, "no model 'models/other'"),
        (["output=/proc/scores.jsonl"], 2, "output /proc/scores.jsonl cannot be written"),
        (["batch_size=0"], 2, "batch_size"),
        (["reward.port=1"], 2, "port"),
    ],
)
def test_settings_that_are_wrong_are_named(files, capsys, overrides, code, complaint):
    with FakeRewardServer(length) as server:
        assert files.score(server.address, *overrides) == code
    assert complaint in capsys.readouterr().err


def test_a_server_that_is_not_there_ends_in_exit_code_69(files, capsys):
    assert files.score("127.0.0.1:1", "reward.startup_timeout_s=0.2") == 69
    assert "start it with `plaudit serve`" in capsys.readouterr().err
