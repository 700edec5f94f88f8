"""How many tokens a model was made for, read from its config, and refused beyond."""

from pathlib import Path

import pytest

from plaudit.context import check_context, context_length
from plaudit.errors import ConfigurationError
from plaudit.policy.loading import load_config
from plaudit.policy.settings import PolicySettings
from tests.policy.tiny import tiny_gpt2, tiny_llama


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_the_context_is_read_from_the_config(tmp_path: Path, make):
    config = load_config(PolicySettings(model=str(make(tmp_path / "m", context=77))))
    assert context_length(config) == 77
    check_context(config, 77, "prompt 'long' with max_new_tokens")
    with pytest.raises(ConfigurationError, match=r"'long' .* 78 tokens.*context is 77: shorten it"):
        check_context(config, 78, "prompt 'long' with max_new_tokens", "shorten it")
