"""One server for all tests of the forms, as `plaudit serve` starts it, and whoever posts to it.

quality   plain rendering, calibrated: the default        chat      a chat template that begins with BOS
padded    plain, pad token == EOS, left_prompt            encoder   BERT-like: CLS and SEP
steps     scores tokens                                   digits    a rule, which reads text
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.reward.folder import Calibration, write
from plaudit.reward.rendering import Rendering

from .. import tiny_models
from ..processes import Served, process
from ..serving import DIGITS
from .asking import Asking

PLAIN = Rendering(max_tokens=64)
PATH_OF_THEIRS = "/data/models/Reward-8B"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    quality = tiny_models.decoder(root / "quality")
    write(quality, PLAIN, self_test=tiny_models.SELF_TEST, calibration=Calibration(mean=0.5, std=2.0))
    cutting = Rendering(max_tokens=64, truncation="left_prompt")
    return {
        "quality": quality,
        "chat": tiny_models.decoder(root / "chat", Rendering(kind="chat", max_tokens=64), seed=1),
        "padded": tiny_models.decoder(root / "padded", cutting, pad="</s>"),
        "encoder": tiny_models.encoder(root / "encoder", PLAIN),
    }


@pytest.fixture(scope="session")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("server")
    steps = {"name": "steps", "model": str(tiny_models.token_classifier(root / "steps"))}
    models = [{"name": name, "model": str(folder)} for name, folder in folders.items()]
    models += [{**steps, "rendering": {"max_tokens": 64}}, DIGITS]
    forms = {"address": "127.0.0.1:0", "names": {PATH_OF_THEIRS: "quality"}}
    few = {"max_batch_tokens": 256}  # what is measured at start is soon done
    with process(root / "process", models=models, forms=forms, limits=few, threads=1) as server:
        yield server


@pytest.fixture
def ask(server: Served) -> Iterator[Asking]:
    with Asking(server.forms_address) as ask:
        yield ask


@pytest.fixture(scope="session")
def ask_of_session(server: Served) -> Iterator[Asking]:
    """For properties, which hypothesis tries many times within one test."""
    with Asking(server.forms_address) as ask:
        yield ask
