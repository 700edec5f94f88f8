"""What the tests on several machines share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .machines import Network, network, why_not


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with network("plaudit", tmp_path) as made:
        yield made
