import json
from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.reward.folder import NAME, Calibration, read, verify, write
from plaudit.reward.loading import load_model, load_tokenizer, score_alone
from plaudit.reward.rendering import Rendering

from . import tiny_models
from .tiny_models import SELF_TEST

PLAIN = Rendering(max_tokens=64)


def check(folder: Path) -> None:
    model = load_model(folder)
    verify(folder, read(folder), load_tokenizer(folder), lambda ids: score_alone(model, ids))


@pytest.mark.parametrize("make", [tiny_models.decoder, tiny_models.encoder])
def test_what_is_written_reads_back_and_verifies(tmp_path: Path, make):
    written = write(make(tmp_path), PLAIN, self_test=SELF_TEST, calibration=Calibration(mean=0.5, std=2.0))
    assert read(tmp_path) == written
    assert written.version == written.weights_sha256[:12]
    assert {case.finish_reason for case in written.self_test} == {"stop", "length"}
    assert written.calibration.apply(2.5) == 1.0
    check(tmp_path)


def test_no_record_is_none(tmp_path: Path):
    assert read(tiny_models.decoder(tmp_path)) is None


def test_a_malformed_record_names_the_key(tmp_path: Path):
    (tmp_path / NAME).write_text(json.dumps({"rendering": {"kind": "haiku"}}))
    with pytest.raises(ConfigurationError, match=r"rendering\.kind"):
        read(tmp_path)


def test_an_untrained_head_mark_is_refused(tmp_path: Path):
    tiny_models.decoder(tmp_path, PLAIN)
    edit(tmp_path, score_head="new")
    with pytest.raises(ConfigurationError, match="score_head"):
        read(tmp_path)


def test_other_weights_are_refused(tmp_path: Path):
    tiny_models.decoder(tmp_path, PLAIN)
    model = load_model(tmp_path)
    model.score.weight.data.mul_(2)
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="weights changed"):
        check(tmp_path)


def test_another_template_is_refused(tmp_path: Path):
    tiny_models.decoder(tmp_path, Rendering(kind="chat"))
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant", "bot")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="tokenizer"):
        check(tmp_path)


def test_a_changed_configuration_shows_in_the_self_test(tmp_path: Path):
    tiny_models.decoder(tmp_path, PLAIN)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    with pytest.raises(ConfigurationError, match="self-test's score"):
        check(tmp_path)


def test_a_self_test_that_does_not_fit_is_one_line(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="self-test"):
        write(tiny_models.decoder(tmp_path), Rendering(max_tokens=3), self_test=SELF_TEST)


def edit(folder: Path, **values: object) -> None:
    record = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(record | values))
