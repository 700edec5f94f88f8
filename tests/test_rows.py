"""Data in every form that is read, and each way a row can be wrong: one line that names the place."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigurationError
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.settings import parse

ROWS = [{"prompt": "Hi\u2028there", "n": 1}, {"prompt": "Grüße", "n": 2}, {"prompt": "", "n": 3}]


def write_lines(path, rows=ROWS):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def write_parquet(path, rows=ROWS):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    write = write_parquet if name.endswith("parquet") else write_lines
    assert read_rows(DataSettings(source=write(tmp_path / name))) == ROWS


def test_a_list_of_sources_is_read_in_its_order_and_the_limit_counts_over_all(tmp_path):
    first, second = write_lines(tmp_path / "b.jsonl", ROWS[:2]), write_lines(tmp_path / "a.jsonl", ROWS[2:])
    assert read_rows(DataSettings(source=[first, second])) == ROWS
    assert read_rows(DataSettings(source=[second, first], limit=2)) == [ROWS[2], ROWS[0]]


def test_the_limit_ends_reading(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\nnot json\n')
    assert read_rows(DataSettings(source=str(path), limit=1)) == [{"n": 1}]


def test_a_folder_is_read_whole_unless_its_files_are_named_after_splits(tmp_path):
    write_lines(tmp_path / "part-1.jsonl", ROWS[:1])
    write_parquet(tmp_path / "part-2.parquet", ROWS[1:])
    assert read_rows(DataSettings(source=str(tmp_path))) == ROWS
    write_lines(tmp_path / "hh.train.jsonl.gz", ROWS[:2])
    write_lines(tmp_path / "hh.test.jsonl.gz", ROWS[2:])
    assert read_rows(DataSettings(source=str(tmp_path))) == ROWS[:2]
    assert read_rows(DataSettings(source=str(tmp_path), split="test")) == ROWS[2:]
    with pytest.raises(ConfigurationError, match=r"no split 'dev': its files are hh\.test"):
        read_rows(DataSettings(source=str(tmp_path), split="dev"))


def test_empty_lines_and_a_byte_order_mark_are_no_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n\r\n{"n": 2}')
    rows = read_rows(DataSettings(source=str(path)))
    assert rows == [{"n": 1}, {"n": 2}]
    assert [row.where for row in rows] == [f"{path}:1", f"{path}:3"]


@pytest.mark.parametrize("line", [b"{", b'{"a": "\xff"}', b"[1]", b"7", b"[" * 100_000])
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b"\n")
    with pytest.raises(ConfigurationError, match=r"a\.jsonl:2: ") as caught:
        read_rows(DataSettings(source=str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"\n", "is empty"),
        ("cut.jsonl.gz", gzip.compress(b'{"n": 1}\n' * 9, mtime=0)[:-9], "cannot be read"),
        ("plain.jsonl.gz", b'{"n": 1}\n', "cannot be read"),
        ("text.parquet", b"no parquet here", "cannot be read as Parquet"),
        ("table.csv", b"a,b", "unknown kind of data file"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_rows(DataSettings(source=str(tmp_path / name)))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["nowhere/to/be/found", "gone.jsonl", "/gone/folder", "./gone"])
def test_a_missing_file_is_named(source):
    with pytest.raises(ConfigurationError, match="no file or folder") as caught:
        read_rows(DataSettings(source=source))
    assert source in str(caught.value)


def test_a_data_set_that_cannot_be_reached_is_one_line(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="no file 'nobody/nothing', and no data set of that name") as caught:
        read_rows(DataSettings(source="nobody/nothing"))
    assert "\n" not in str(caught.value)


def test_a_folder_without_data_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="has no data"):
        read_rows(DataSettings(source=str(tmp_path)))


@pytest.mark.parametrize(
    "tree", [{"source": []}, {"source": ""}, {"source": "a", "limit": 0}, {"source": "a", "sp": 1}]
)
def test_settings_are_checked(tree):
    with pytest.raises(ConfigurationError):
        parse(DataSettings, tree, source="test")


def test_fields_are_checked_and_named():
    row = Row({"text": 5, "half": "\ud800", "number": float("nan"), "flag": True, "none": None}, "data.jsonl:3")
    for read, field, message in [
        (row.text, "text", "must be text, found 5"),
        (row.text, "absent", r"is missing \(the row has text, half"),
        (row.text, "none", "is missing"),
        (row.text, "half", "holds half of a surrogate pair"),
        (row.number, "number", "must be a finite number, found nan"),
        (row.number, "flag", "must be a finite number, found True"),
    ]:
        with pytest.raises(ConfigurationError, match=rf"^data\.jsonl:3: '{field}' {message}"):
            read(field)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "'messages' is an empty list"),
        ("Hi", "'messages' must be a list"),
        (["Hi"], r"'messages\[0\]' must be an object"),
        ([{"role": "user", "content": "Hi"}, {"role": "assistant"}], r"'messages\[1\]\.content' is missing"),
        ([{"role": "oracle", "content": "Hi"}], r"'messages\[0\]\.role' is 'oracle': known roles"),
    ],
)
def test_message_lists_are_checked_and_named(turns, message):
    with pytest.raises(ConfigurationError, match=rf"^f:1: {message}"):
        Row({"messages": turns}, "f:1").messages("messages")


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none()), min_size=1))
def test_any_rows_survive_the_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_rows(DataSettings(source=str(path))) == rows
