"""A world whose utility is known, and people of known reliability who judge it.

An answer is four words, its utility the sum of their worths. A person perceives utility plus Gumbel noise of a scale of
their own, so that of two answers they choose by Bradley and Terry's model, and of several by Plackett and Luce's. Their
reliability is how often they choose the better of two answers; no scorer agrees with them more often than that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from scipy.special import expit
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Answer, Kind, Ranks, Task

Array = npt.NDArray[np.float64]
Words = npt.NDArray[np.int64]

WORDS, LENGTH = 30, 4
RELIABILITY = {f"person {at:02}": float(right) for at, right in enumerate(np.linspace(0.55, 0.97, 12))}
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class World:
    """Of one seed."""

    seed: int

    @cached_property
    def worths(self) -> Array:
        """(WORDS,)"""
        return np.random.default_rng([self.seed, 0]).normal(size=WORDS)

    @cached_property
    def noises(self) -> Array:
        """(people,) of each person's perception, so that their reliability is what it is."""
        pairs = self.utility(self.draw(50_000, 2, stream=1))
        gaps = np.abs(pairs[:, 0] - pairs[:, 1])

        def missing(noise: float, right: float) -> float:
            return float(expit(gaps / noise).mean()) - right

        return np.array([brentq(missing, 0.01, 1e3, args=(right,)) for right in RELIABILITY.values()])

    def draw(self, tasks: int, answers: int, stream: int) -> Words:
        """(tasks, answers, LENGTH) places of words; another stream, other answers."""
        return np.random.default_rng([self.seed, stream]).integers(WORDS, size=(tasks, answers, LENGTH))

    def utility(self, words: Words) -> Array:
        """(tasks, answers)"""
        worth: Array = self.worths[words].sum(axis=-1)
        return worth

    def judge(self, words: Words, people: int, stream: int) -> Iterator[Judgement]:
        """Each task by as many people, drawn anew; all ranks differ."""
        random = np.random.default_rng([self.seed, stream, 1])
        kind = Kind.COMPARE if words.shape[1] == 2 else Kind.RANK
        names = list(RELIABILITY)
        for number, utility in enumerate(self.utility(words)):
            task = Task(f"task {number}", kind, prompt(number), tuple(Answer(text(one)) for one in words[number]))
            for who in random.permutation(len(names))[:people]:
                perceived = utility + self.noises[who] * random.gumbel(size=len(utility))
                ranks = Ranks(tuple(int(rank) for rank in 1 + np.argsort(np.argsort(-perceived))))
                yield Judgement(task, names[who], ranks, tuple(range(len(utility))), "", False, 1.0, 0.0)

    def agreement(self, utility: Array, first: npt.NDArray[np.bool_]) -> Array:
        """(n,) how often a random person agrees with `first`: the first of two answers, utilities (n, 2), is better."""
        chances = expit((utility[:, :1] - utility[:, 1:]) / self.noises).mean(axis=1)
        agreed: Array = np.where(first, chances, 1.0 - chances)
        return agreed


def text(words: Words) -> str:
    """An answer."""
    return " ".join(f"w{word}" for word in words)


def prompt(number: int) -> str:
    """Prompts differ, so that none is in two parts of the data, and say nothing."""
    return " ".join(f"p{digit}" for digit in f"{number:05}")


def write_base(folder: Path, seed: int) -> Path:
    """A random Llama of two layers of width 32 that knows the world's words."""
    known = [*SPECIAL.values(), *(f"w{word}" for word in range(WORDS)), *(f"p{digit}" for digit in range(10))]
    tokens = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=len(known), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokens, **SPECIAL).save_pretrained(folder)
    return folder
