"""Saving a policy as a standard Hugging Face folder, whole or not at all.

folder/
  config.json  generation_config.json  model.safetensors  tokenizer files     loads with AutoModelForCausalLM or vLLM
  adapter/                                                                    with LoRA: the adapter alone, beside
                                                                              the merged weights above
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from plaudit.policy.loading import CausalLM
from plaudit.policy.merging import merged_state


def save_policy(model: CausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the policy to `folder`, which is replaced at once if it exists. The live model stays as it is."""
    with _whole_or_not_at_all(folder) as partial:
        if isinstance(model, PeftModel):
            base = model.get_base_model()
            assert isinstance(base, PreTrainedModel)
            base.save_pretrained(partial, state_dict=merged_state(model))
            model.save_pretrained(str(partial / "adapter"), save_embedding_layers=False)
        else:
            model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


@contextmanager
def _whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """A sibling folder to write into, renamed to `folder` when all is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{kind}-{os.getpid()}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
