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
from plaudit.policy.sharding import gathered
from plaudit.policy.weights import trainable


def save_policy(model: CausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path, *, write: bool = True) -> None:
    """Writes the policy into `folder`, which is made where its parent is there. The live model stays as it is.

    A sharded model is gathered by all ranks, and written by the one that is to `write`.
    """
    if isinstance(model, PeftModel):
        state, adapter = merged_state(model), trainable(model)
    else:
        state, adapter = model.state_dict(keep_vars=True), {}
    state, adapter = gathered(state, keep=write), gathered(adapter, keep=write)
    if not write:
        return
    folder.mkdir(exist_ok=True)
    without_adapter(model).save_pretrained(folder, state_dict=state)
    if adapter:
        model.save_pretrained(str(folder / "adapter"), state_dict=adapter, save_embedding_layers=False)
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise OSError(
            f"tokenizer: {error}"
        ) from error  # what tokenizers raises where there is no room: nothing narrower
