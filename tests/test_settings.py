"""Settings files: what they accept, and what they say about a mistake."""

from dataclasses import field
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError
from plaudit.settings import STRICT, load, parse, to_yaml


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    model: str
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Entry:
    number: int


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Listing:
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text("model: m\ninner:\n  learning_rate: 0.5\n")
    return path


def test_file_then_overrides(path: Path) -> None:
    assert load(Outer, path).inner.learning_rate == 0.5
    assert load(Outer, path, ["inner.learning_rate=2e-3", "model=x/y"]).inner.learning_rate == 2e-3
    assert load(Outer, path, ["maybe.learning_rate=3"]).maybe == Inner(learning_rate=3)


def test_resolved_settings_read_back_the_same(path: Path, tmp_path: Path) -> None:
    settings = load(Outer, path, ["maybe.learning_rate=3"])
    written = tmp_path / "resolved.yaml"
    written.write_text(to_yaml(settings))
    assert load(Outer, written) == settings
    assert "betas" in written.read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.learnig_rate=1", "unknown key 'inner.learnig_rate' .did you mean 'learning_rate'"),
        ("nonsense=1", "unknown key 'nonsense' .known here: inner, maybe, model"),
        ("inner.learning_rate=-1", r"'inner.learning_rate' is -1: .*greater than 0"),
        ("inner.learning_rate=.nan", "finite"),
        ("inner.learning_rate=fast", "'inner.learning_rate' is 'fast'"),
        ("inner=3", "'inner' is 3"),
        ("maybe.learnig_rate=1", "unknown key 'maybe.*learnig_rate'"),
        ("just words", "not of the form key=value"),
        ("=3", "not of the form key=value"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        load(Outer, path, [override])
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigurationError, match="key 'model' is missing"):
        load(Outer, tmp_path / "empty.yaml")


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "\x00"])
def test_a_file_that_is_no_settings_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"bad\.yaml") as error:
        load(Outer, tmp_path / "bad.yaml")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no settings file"):
        load(Outer, tmp_path / "none.yaml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    name = "x" * 300  # longer than any file system takes: as good as a file without permission, for root too
    with pytest.raises(ConfigurationError, match=f"{name} cannot be read .*: make it readable"):
        load(Outer, tmp_path / name)


def test_a_wrong_entry_of_a_list_is_all_that_is_said() -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(Listing, {"entries": [{"number": "many"}]}, source="here")
    assert str(error.value).startswith("here: 'entries.0.number' is 'many'")
    assert ";" not in str(error.value)
