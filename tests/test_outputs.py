"""What cannot be written ends each program in one line, before its long work; what is written is whole."""

from pathlib import Path

import pytest

from plaudit.cli import main
from plaudit.outputs import whole_folder, write_rows

EXAMPLES = Path(__file__).parents[1] / "examples"


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1, shown.err
    return shown.err


@pytest.mark.parametrize(
    ("program", "settings", "key"),
    [
        ("sft", "sft/settings.yaml", "output"),
        ("reward-model", "reward_model/settings.yaml", "output"),
        ("serve", "serve/digits.yaml", "ready_file"),
        ("train", "train/settings.yaml", "folder"),
        ("score", "score/settings.yaml", "output"),
        ("eval", "eval/settings.yaml", "output"),
    ],
)
def test_an_output_below_a_file_is_named(tmp_path: Path, capsys, monkeypatch, program, settings, key) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    (tmp_path / "file").touch()
    assert main([program, str(EXAMPLES / settings), f"{key}={tmp_path}/file/new"]) == 2
    line = only_line(capsys)
    assert line.startswith(f"plaudit {program}: {key} {tmp_path}/file")
    assert "choose another place" in line


def test_a_ready_file_needs_its_folder(tmp_path: Path, capsys) -> None:
    settings = [str(EXAMPLES / "serve/digits.yaml"), "address=127.0.0.1:0", "http_address=127.0.0.1:0"]
    assert main(["serve", *settings, f"ready_file={tmp_path}/gone/ready.json"]) == 2
    assert f"no folder {tmp_path}/gone: make it" in only_line(capsys)


@pytest.mark.parametrize(("program", "key"), [("train", "folder"), ("score", "output")])
def test_a_folder_where_a_file_belongs_is_named(tmp_path: Path, capsys, monkeypatch, program, key) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    (tmp_path / "config.yaml").mkdir()
    assert main([program, str(EXAMPLES / program / "settings.yaml"), f"{key}={tmp_path}"]) == 2
    assert f"{key} {tmp_path}" in only_line(capsys)


def test_a_report_that_cannot_be_replaced_is_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "config.yaml").touch()
    (tmp_path / "report.html").mkdir()
    assert main(["report", str(tmp_path)]) == 2
    assert f"report {tmp_path}/report.html cannot be written" in only_line(capsys)


def test_what_is_replaced_is_old_or_new_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"a": "old"}])
    with pytest.raises(UnicodeEncodeError):
        write_rows(tmp_path / "rows.jsonl", [{"a": "half of a pair: \ud800"}])
    assert (tmp_path / "rows.jsonl").read_text() == '{"a": "old"}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    write_rows(tmp_path / "rows.jsonl", [{"a": "é"}, {"a": 2}])
    assert (tmp_path / "rows.jsonl").read_text() == '{"a": "é"}\n{"a": 2}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_folder_is_replaced_whole_also_after_a_write_that_was_cut_short(tmp_path: Path) -> None:
    for name in ("whole", ".whole.partial", ".whole.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left").touch()
    with whole_folder(tmp_path / "whole") as partial:
        (partial / "new").touch()
        assert (tmp_path / "whole" / "left").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["whole", "new"]


def test_a_write_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(FileNotFoundError), whole_folder(folder) as partial:
        (partial / "missing" / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["whole", "old"]


def test_a_folder_that_cannot_be_put_in_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    folder, rename = tmp_path / "whole", Path.rename
    folder.mkdir()
    (folder / "old").touch()

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if self.name == ".whole.partial":
            raise OSError("input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="input/output"), whole_folder(folder):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["whole", "old"]
