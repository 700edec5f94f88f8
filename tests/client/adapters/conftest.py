"""One server for the tests of the adapters, as `plaudit serve` starts it.

quality   plain rendering, 64 tokens: the default       digits    a rule
lossy     a function of the response, one score in four of which is missing
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.reward.folder import write
from plaudit.reward.rendering import Rendering
from tests.reward import tiny_models
from tests.reward.processes import Served, process
from tests.reward.serving import DIGITS

LOSSY = """
import itertools
calls = itertools.count()
def lossy(prompt, response):
    if next(calls) % 4 == 1:
        raise ValueError("this one has no score")
    return sum(response.encode()) % 101 / 10
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("server")
    quality = tiny_models.decoder(root / "quality")
    write(quality, Rendering(max_tokens=64), self_test=tiny_models.SELF_TEST)
    (root / "lossy.py").write_text(LOSSY)
    lossy = {"name": "lossy", "callable": {"function": f"{root}/lossy.py:lossy", "concurrency": 1}}
    models = [{"name": "quality", "model": str(quality)}, DIGITS, lossy]
    few = {"max_batch_tokens": 256}  # what is measured at start is soon done
    forms = {"address": "127.0.0.1:0"}
    with process(root / "process", models=models, forms=forms, limits=few, threads=1) as server:
        yield server


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.policy(tmp_path_factory.mktemp("policy"))
