"""One reward server for all runs."""

from collections.abc import Iterator

import pytest

from plaudit_client.fake import FakeRewardServer

from .programs import share_of_a


@pytest.fixture(scope="module")
def server() -> Iterator[FakeRewardServer]:
    with FakeRewardServer(share_of_a) as server:
        yield server
