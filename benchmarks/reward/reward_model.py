"""A reward model of the size of all-MiniLM-L6: 6 layers, 384 wide, 12 heads, 22 million parameters, all of them random.

What a forward costs does not depend on what the weights are. The tokenizer is WordPiece over the words that
workload.py makes up: the more frequent half of them are one token each, the others fall into syllables.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from workload import SYLLABLES, WORDS, pairs, words

from plaudit.reward.folder import write
from plaudit.reward.rendering import Rendering

VOCABULARY, LONGEST = 30_522, 256


def make(folder: Path, seed: int = 0) -> Path:
    """Writes the model, its tokenizer and its `plaudit_reward.json` into `folder`."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12,
        pad_token_id=0,
    )  # fmt: skip
    config.num_labels = 1
    model = BertForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight)  # scores of order 1
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    write(folder, Rendering(max_tokens=LONGEST, truncation="left_prompt"), self_test=pairs(0, 3, median=12))
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece with CLS and SEP."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words()[: WORDS // 2]]
    tokens += [piece for syllable in SYLLABLES for piece in (syllable, "##" + syllable)]
    backend = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(dict.fromkeys(tokens))}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
