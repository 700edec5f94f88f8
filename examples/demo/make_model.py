"""Makes the demo's language model: a tokenizer trained on the spot and a small Llama with random weights.

The folder it writes is an ordinary Hugging Face model, so `plaudit sft` takes it like any other.
"""

from collections.abc import Iterable
from pathlib import Path

from plaudit.telemetry.quiet import quiet_libraries

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY = 1024
CONTEXT = 128  # tokens


def make_model(texts: Iterable[str], folder: Path, seed: int) -> None:
    """Writes tokenizer, configuration and random weights (1.1 M parameters) to `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    quiet_libraries()
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[PAD, BOS, EOS], initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token=PAD, bos_token=BOS, eos_token=EOS)
    tokenizer.model_max_length = CONTEXT
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=160,
            intermediate_size=448,
            num_hidden_layers=3,
            num_attention_heads=5,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
