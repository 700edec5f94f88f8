"""What the loop costs beside the model calls it cannot do without: `make bench`.

    generation   policy.generation.generate   against   transformers' model.generate, same prompts, full softmax
    update       LocalLearner.update          against   a bare loop: the same rows, one padded forward and backward

Both sides of a pair take turns, and the ratio is of each turn's two times, so a machine that slows down slows both.
The random model never ends a response early but by chance, so every response has about the same length for both.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from plaudit.policy.generation import generate
from plaudit.policy.loading import load_causal_lm, load_tokenizer
from plaudit.policy.settings import PolicySettings
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import make_targets
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, TrainingBatch, Trajectory

VOCABULARY, PROMPT, RESPONSE, ROWS = 1000, 16, 48, 64


def make_policy(folder: Path) -> PolicySettings:
    """A random Llama of about a million parameters and a tokenizer of as many words as it has ids."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0", bos_token="w1", eos_token="w2")
    wrapped.save_pretrained(folder)
    return PolicySettings(model=str(folder))


def requests() -> list[RolloutRequest]:
    """Prompts of equal length, so that neither side pads."""
    ids = np.random.default_rng(0).integers(3, VOCABULARY, (ROWS, PROMPT))
    return [RolloutRequest(Prompt(str(i), tuple(row.tolist()), text="")) for i, row in enumerate(ids)]


def generation(policy: PolicySettings) -> tuple[Callable[[], object], Callable[[], object]]:
    """Ours and transformers'; neither may stop early."""
    model, tokenizer = load_causal_lm(policy), load_tokenizer(policy)
    sampling = Sampling(RESPONSE, 1.0, (), run_seed=0)
    input_ids = torch.tensor([request.prompt.token_ids for request in requests()])

    def bare() -> object:
        with torch.no_grad():
            return model.generate(  # type: ignore[operator]  # peft's model forwards it as it does every attribute
                input_ids, attention_mask=torch.ones_like(input_ids), do_sample=True, top_k=0, pad_token_id=0,
                min_new_tokens=RESPONSE, max_new_tokens=RESPONSE,
            )  # fmt: skip

    return lambda: generate(model, requests(), sampling, 0, 0, tokenizer), bare


def scored(policy: PolicySettings) -> list[ScoredTrajectory]:
    """Full-length responses with random scores."""
    sampling = Sampling(RESPONSE, 1.0, (), run_seed=0)
    trajectories: list[Trajectory] = generate(
        load_causal_lm(policy), requests(), sampling, 0, 0, load_tokenizer(policy)
    )
    scores = np.random.default_rng(1).normal(size=len(trajectories))
    return [ScoredTrajectory(one, float(score)) for one, score in zip(trajectories, scores, strict=True)]


def update(policy: PolicySettings) -> tuple[Callable[[], object], Callable[[], object]]:
    """One epoch of PPO, and one forward and backward pass with a bare Adam step over the same rows."""
    ppo = PPOSettings(epochs=1, learning_rate=0.0, microbatch_tokens=ROWS * (PROMPT + RESPONSE))
    learner = LocalLearner(policy, ppo, temperature=1.0, seed=0)
    batch = TrainingBatch.assemble(scored(policy), pad_token_id=0)
    targets, _ = make_targets(batch, learner.evaluate(batch), 0.05, ppo)
    model = load_causal_lm(policy)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    input_ids = torch.from_numpy(batch.input_ids)

    def bare() -> None:
        optimizer.zero_grad()
        logits = model(input_ids=input_ids, logits_to_keep=RESPONSE + 1).logits[:, :-1]
        chosen = logits.log_softmax(-1).gather(-1, input_ids[:, PROMPT:, None])
        torch.autograd.backward(-chosen.mean())
        optimizer.step()

    return lambda: learner.update(batch, targets, step=0), bare


def ratios(ours: Callable[[], object], bare: Callable[[], object], turns: int) -> tuple[list[float], list[float]]:
    """Seconds of ours, and ours divided by bare, turn by turn; the first turn warms up and does not count."""
    seconds, found = [], []
    for turn in range(turns + 1):
        ours_seconds, bare_seconds = timed(ours), timed(bare)
        if turn:
            seconds.append(ours_seconds)
            found.append(ours_seconds / bare_seconds)
    return seconds, found


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parsed = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(parsed.threads)
    table = Table(title=f"{ROWS} rows, {PROMPT} + {RESPONSE} tokens, {parsed.threads} thread(s), {parsed.turns} turns")
    for column in ("", "tokens/s", "time / bare loop's: median", "min", "max"):
        table.add_column(column, justify="right" if column else "left")
    with tempfile.TemporaryDirectory() as folder:
        policy = make_policy(Path(folder))
        for name, pair in (("generation", generation(policy)), ("update", update(policy))):
            seconds, found = ratios(*pair, parsed.turns)
            speed = ROWS * RESPONSE / statistics.median(seconds)
            table.add_row(name, f"{speed:,.0f}", *(f"{f(found):.2f}" for f in (statistics.median, min, max)))
    Console().print(table)


if __name__ == "__main__":
    main()
