"""Saving a policy as a standard Hugging Face folder, whole or not at all.

folder/
  config.json  generation_config.json  model.safetensors  tokenizer files     loads with AutoModelForCausalLM or vLLM
  adapter/                                                                    with LoRA: the adapter alone, beside
                                                                              the merged weights above
"""

from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from plaudit.policy.loading import CausalLM, without_adapter
from plaudit.policy.merging import merged_state


def save_policy(model: CausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the policy into `folder`, which is made where its parent is there. The live model stays as it is."""
    folder.mkdir(exist_ok=True)
    if isinstance(model, PeftModel):
        without_adapter(model).save_pretrained(folder, state_dict=merged_state(model))
        model.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
