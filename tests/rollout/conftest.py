"""One Ray for all tests here: it takes seconds to start."""

from collections.abc import Iterator

import pytest

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import start_ray
from tests.policy.tiny import tiny_llama


@pytest.fixture(scope="package")
def ray() -> Iterator[None]:
    connection = start_ray(None, num_cpus=8)
    yield
    connection.close()


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicySettings:
    return PolicySettings(model=str(tiny_llama(tmp_path_factory.mktemp("rollout") / "model")))
