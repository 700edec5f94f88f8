"""A tiny policy, and its tokenizer."""

from pathlib import Path

import pytest
from policy.tiny import tiny_gpt2
from transformers import AutoTokenizer, PreTrainedTokenizerBase


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_gpt2(tmp_path / "gpt2")


@pytest.fixture
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)
