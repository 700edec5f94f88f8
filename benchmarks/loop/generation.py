"""Useful tokens a second on ragged lengths: `python benchmarks/loop/generation.py [--model FOLDER] [--turns 20]`

    ours            policy.generation.generate: rows that ended leave the batch
    transformers'   model.generate on the same batches: rows that ended are padded until the last one ends

Prompts are pieces of the README of 4 to 64 tokens, in batches of about one length for both. Responses are samples from
the full softmax that end at their first full stop, comma or new line: without --model, of a random model with as
likely an end. Tokens behind a row's end are not counted. Both take turns; a ratio per turn, their median and its 95 %
interval from the order of the turns' ratios, which supposes nothing of how they are distributed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from bench import VOCABULARY, make_policy
from rich.console import Console
from rich.table import Table
from scipy import stats
from transformers import PreTrainedTokenizerBase

from plaudit.policy.generation import generate, left_padded
from plaudit.policy.loading import CausalLM, load_causal_lm, load_tokenizer
from plaudit.policy.settings import PolicySettings
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trajectory import Prompt, RolloutRequest, Sampling

BATCH, RESPONSE = 16, 96
README = Path(__file__).parents[2] / "README.md"
ENDS = (".", ",", "\n", "!", "?", ":", ";")
LIKELY_END = 0.04
"""Chance of the random model's every token to be an end: 25 tokens in the mean."""


def prompts(tokenizer: PreTrainedTokenizerBase, rows: int, random_model: bool) -> list[tuple[int, ...]]:
    """The longest first."""
    chance = np.random.default_rng(0)
    if random_model:
        text = chance.integers(3, VOCABULARY, 10_000).tolist()
    else:
        text = tokenizer(README.read_text(encoding="utf-8"), verbose=False)["input_ids"]
    lengths = sorted(chance.integers(4, 65, rows).tolist(), reverse=True)
    starts = chance.integers(0, len(text) - 64, rows).tolist()
    return [tuple(text[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def stop_ids(tokenizer: PreTrainedTokenizerBase, random_model: bool) -> tuple[int, ...]:
    """Tokens after which a response is over."""
    if random_model:
        return tuple(range(3, 3 + round(LIKELY_END * VOCABULARY)))
    pieces = [tokenizer(end, add_special_tokens=False)["input_ids"] for end in ENDS]
    return (*(ids[0] for ids in pieces if len(ids) == 1), int(tokenizer.eos_token_id))


def ours(
    model: CausalLM, tokenizer: PreTrainedTokenizerBase, batches: list[list[tuple[int, ...]]], stops: tuple[int, ...]
) -> Callable[[int], int]:
    """Generates for all batches; returns the useful tokens."""
    pad = int(tokenizer.pad_token_id)

    def work(turn: int) -> int:
        sampling, useful = Sampling(RESPONSE, 1.0, stops, run_seed=turn), 0
        for number, batch in enumerate(batches):
            requests = [RolloutRequest(Prompt(f"{number}/{n}", ids, text="")) for n, ids in enumerate(batch)]
            useful += sum(len(one.response_ids) for one in generate(model, requests, sampling, pad, 0, tokenizer))
        return useful

    return work


def transformers_own(
    model: CausalLM, tokenizer: PreTrainedTokenizerBase, batches: list[list[tuple[int, ...]]], stops: tuple[int, ...]
) -> Callable[[int], int]:
    """The same with `model.generate`."""
    device = next(model.parameters()).device
    padded = [left_padded(batch, int(tokenizer.pad_token_id), device) for batch in batches]

    @torch.no_grad()
    def work(turn: int) -> int:
        torch.manual_seed(turn)
        useful = 0
        for ids, mask in padded:
            out = model.generate(  # type: ignore[operator]  # peft's model forwards it as it does every attribute
                ids, attention_mask=mask, do_sample=True, top_k=0, temperature=1.0, max_new_tokens=RESPONSE,
                eos_token_id=list(stops), pad_token_id=int(tokenizer.pad_token_id),
            )[:, ids.shape[1] :]  # fmt: skip
            ended = torch.isin(out, torch.tensor(stops, device=device)).int().cumsum(1)
            useful += int((ended.roll(1, 1).index_fill(1, torch.tensor([0], device=device), 0) == 0).sum())
        return useful

    return work


def tokens_a_second(work: Callable[[int], int], turn: int) -> float:
    """Of one turn."""
    began = time.perf_counter()
    useful = work(turn)
    return useful / (time.perf_counter() - began)


def median_interval(values: list[float]) -> tuple[float, float]:
    """95 % or a little more, by the binomial distribution of how many values lie below the median."""
    ordered, n = sorted(values), len(values)
    below = int(stats.binom.ppf(0.025, n, 0.5))
    return ordered[max(0, below - 1)], ordered[min(n - 1, n - below)]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or hub name of a causal language model")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rows", type=int, default=64, help="prompts a turn")
    parser.add_argument("--threads", type=int, default=1)
    parsed = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(parsed.threads)
    with tempfile.TemporaryDirectory() as folder:
        policy = PolicySettings(model=parsed.model) if parsed.model else make_policy(Path(folder))
        model, tokenizer = load_causal_lm(policy), load_tokenizer(policy)
    is_random = parsed.model is None
    model.eval()
    wanted, stops = prompts(tokenizer, parsed.rows, is_random), stop_ids(tokenizer, is_random)
    batches = [wanted[start : start + BATCH] for start in range(0, parsed.rows, BATCH)]
    sides = (ours(model, tokenizer, batches, stops), transformers_own(model, tokenizer, batches, stops))
    rates = [[tokens_a_second(side, turn) for side in sides] for turn in range(parsed.turns + 1)][1:]  # first: warm-up
    ratios = [one / other for one, other in rates]
    low, high = median_interval(ratios)
    what = f"{parsed.rows} prompts in batches of {BATCH}, {parsed.threads} thread(s), {parsed.turns} turns"
    table = Table(title=what)
    for column in ("ours, useful tokens/s", "transformers'", "ratio, median", "95 %"):
        table.add_column(column, justify="right")
    speeds = [f"{median(column):,.0f}" for column in zip(*rates, strict=True)]
    table.add_row(*speeds, f"{median(ratios):.2f}", f"{low:.2f} to {high:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
