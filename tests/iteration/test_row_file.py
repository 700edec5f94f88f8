"""Rows are all there or not at all, and what was written before a program was stopped is not drawn again."""

from pathlib import Path

from plaudit.iteration.row_file import RowFile


def test_rows_come_in_any_order_and_leave_in_the_prompts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowFile(path, "settings") as file:
        file.add(1, [{"id": "b"}])
        file.add(0, [{"id": "a"}])
        file.add(2, [])
        assert not path.exists()
        assert file.finish() == 2
    assert path.read_text() == '{"id": "a"}\n{"id": "b"}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_program_that_was_killed_finds_what_it_wrote_but_the_line_it_was_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowFile(path, "settings") as file:
        file.add(0, [{"id": "a"}])
        file.add(1, [{"id": "b"}])
    partial = tmp_path / ".rows.jsonl.rows"
    partial.write_bytes(partial.read_bytes()[:-5])
    with RowFile(path, "settings") as file:
        assert file.rows == {0: [{"id": "a"}]}
        file.add(1, [{"id": "b"}])
        file.finish()
    assert path.read_text() == '{"id": "a"}\n{"id": "b"}\n'


def test_what_other_settings_began_is_begun_anew(tmp_path: Path) -> None:
    with RowFile(tmp_path / "rows.jsonl", "settings") as file:
        file.add(0, [{"id": "a"}])
    assert RowFile(tmp_path / "rows.jsonl", "others").rows == {}
