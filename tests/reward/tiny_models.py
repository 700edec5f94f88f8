"""Reward models of a few thousand parameters, made on the spot in Hugging Face format."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from plaudit.reward.folder import RewardFolder, write
from plaudit.reward.rendering import Rendering

TEXT = [
    "What does a ticket to the museum cost? A ticket costs 12 euros, thank you for asking.",
    "When do you open on Monday? We open at 9 in the morning and close at 18.",
    "\n\nHuman: Can I bring my dog?\n\nAssistant: Yes, dogs are welcome here.",
    "<|user|> system assistant Human Assistant: 0 1 2 3 4 5 6 7 8 9 naïve café 日本",
]
CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SELF_TEST = [("What does a ticket cost?", " A ticket costs 12 euros."), ("When do you open?", " At 9.")]


def decoder_tokenizer(pad: str = "<pad>") -> PreTrainedTokenizerFast:
    """Byte-level BPE with BOS, EOS, chat markers and a ChatML template."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator(TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token=pad, extra_special_tokens=special[3:]
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def encoder_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece with CLS and SEP, and neither BOS nor EOS."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    backend.train_from_iterator(TEXT, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


def decoder(
    folder: Path,
    rendering: Rendering | None = None,
    pad: str = "<pad>",
    side: str = "right",
    seed: int = 0,
    **config: int,
) -> Path:
    """A llama-like reward model in `folder`; with a rendering, its `plaudit_reward.json` too."""
    tokenizer = decoder_tokenizer(pad)
    tokenizer.padding_side = side
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(LlamaConfig(**_shape(tokenizer) | config))
    return _save(folder, model, tokenizer, rendering)


def policy(folder: Path) -> Path:
    """A llama-like language model, for other people's trainers, in `folder`."""
    tokenizer = decoder_tokenizer()
    torch.manual_seed(0)
    special = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    return _save(folder, LlamaForCausalLM(LlamaConfig(**_shape(tokenizer) | special)), tokenizer, None)


def token_classifier(folder: Path, num_labels: int = 1) -> Path:
    """A llama-like model that scores each token, in `folder`."""
    tokenizer = decoder_tokenizer()
    torch.manual_seed(0)
    model = LlamaForTokenClassification(LlamaConfig(**_shape(tokenizer) | {"num_labels": num_labels}))
    return _save(folder, model, tokenizer, None)


def absolute_decoder(folder: Path, rendering: Rendering | None = None) -> Path:
    """A GPT-2-like reward model, whose positions are learnt one by one."""
    tokenizer = decoder_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=512, num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return _save(folder, GPT2ForSequenceClassification(config), tokenizer, rendering)


def rotary_encoder(folder: Path, rendering: Rendering | None = None) -> Path:
    """A ModernBERT-like reward model: it reads both ways, with rotary positions and local attention."""
    tokenizer = encoder_tokenizer()
    torch.manual_seed(0)
    special = {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    special |= {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    config = ModernBertConfig(**_shape(tokenizer), **special, local_attention=8, global_attn_every_n_layers=2)
    return _save(folder, ModernBertForSequenceClassification(config), tokenizer, rendering)


def encoder(folder: Path, rendering: Rendering | None = None) -> Path:
    """A BERT-like reward model in `folder`."""
    tokenizer = encoder_tokenizer()
    torch.manual_seed(0)
    return _save(folder, BertForSequenceClassification(BertConfig(**_shape(tokenizer))), tokenizer, rendering)


def _shape(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return {"vocab_size": len(tokenizer), "num_labels": 1, "pad_token_id": tokenizer.pad_token_id, **sizes}


def _save(folder: Path, model, tokenizer, rendering: Rendering | None) -> Path:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "score" in name or "classifier" in name:
                parameter.normal_(0, 1.0)  # scores of order 1, so that a wrong one shows
            elif parameter.dim() > 1:
                parameter.normal_(0, 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if rendering is not None:
        record(folder, rendering)
    return folder


def record(folder: Path, rendering: Rendering) -> RewardFolder:
    """Writes the folder's `plaudit_reward.json`."""
    return write(folder, rendering, self_test=SELF_TEST)
