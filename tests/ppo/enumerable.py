"""A world small enough to be enumerated: every response to every prompt, its probability and its reward.

Two prompts, five words and the end-of-sequence token; responses of at most one or two tokens. With that horizon the
optimum of E[r] - beta KL is known: pi*(y | x) is proportional to pi_ref(y | x) exp(r(x, y) / beta).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from plaudit.policy.settings import PolicySettings
from plaudit.ppo.learner import Learner, LocalLearner
from plaudit.ppo.settings import KLSettings, PPOSettings
from plaudit.ppo.targets import Evaluation, make_targets
from plaudit.trajectory import TrainingBatch

from .ragged import EOS, PAD, scored_row

VOCABULARY = 6  # 0 to 5, 2 ends a response; all of them can be sampled
Floats = npt.NDArray[np.float64]


def tiny_world(folder: Path, tokenizer: Path) -> Path:
    """A random model over that vocabulary, saved with any tokenizer (nothing is ever tokenised)."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, pad_token_id=PAD, bos_token_id=1, eos_token_id=EOS, initializer_range=0.1,
    )  # fmt: skip
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in tokenizer.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def responses(horizon: int) -> list[tuple[int, ...]]:
    """All that can be sampled within `horizon` tokens: an end cuts a response short."""
    if horizon == 1:
        return [(token,) for token in range(VOCABULARY)]
    shorter = responses(horizon - 1)
    return [
        longer for y in shorter for longer in ([y] if y[-1] == EOS else [(*y, token) for token in range(VOCABULARY)])
    ]


@dataclass(frozen=True)
class World:
    """All rows (X prompts times Y responses) as one batch, with their rewards."""

    batch: TrainingBatch
    prompts: int

    @classmethod
    def of(cls, horizon: int, seed: int = 0) -> "World":
        """Rewards are standard normal, different for every response to every prompt."""
        rng = np.random.default_rng(seed)
        prompts = [(3, 4), (5, 3, 1)]  # not (5,): without absolute positions, 5 and 5 5 can't be told apart
        rows = [scored_row(x, y, float(rng.normal())) for x in prompts for y in responses(horizon)]
        return cls(TrainingBatch.assemble(rows, PAD), len(prompts))

    def by_prompt(self, logprobs: npt.NDArray[np.float32]) -> Floats:
        """(X, Y): log-probabilities of whole responses."""
        return logprobs.sum(axis=1, dtype=np.float64).reshape(self.prompts, -1)

    @property
    def rewards(self) -> Floats:
        """(X, Y)."""
        return self.batch.scores.astype(np.float64).reshape(self.prompts, -1)

    def optimum(self, reference: Floats, beta: float) -> Floats:
        """(X, Y): log pi*."""
        unnormalised = reference + self.rewards / beta
        return unnormalised - np.logaddexp.reduce(unnormalised, axis=1, keepdims=True)

    def objective(self, logprobs: Floats, reference: Floats, beta: float) -> float:
        """E[r] - beta KL, exactly, the mean over prompts."""
        return float((np.exp(logprobs) * (self.rewards - beta * (logprobs - reference))).sum(axis=1).mean())

    def kl(self, logprobs: Floats, reference: Floats) -> float:
        """Nats per response, exactly."""
        return float((np.exp(logprobs) * (logprobs - reference)).sum(axis=1).mean())

    def sample(self, logprobs: Floats, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """`count` rows, drawn from the policy itself: as many for each prompt."""
        share = np.exp(logprobs) / np.exp(logprobs).sum(axis=1, keepdims=True)
        per_prompt = [rng.choice(share.shape[1], count // self.prompts, p=p) for p in share]
        return np.concatenate([chosen + x * share.shape[1] for x, chosen in enumerate(per_prompt)])


def settings(beta: float, learning_rate: float, **changes: object) -> PPOSettings:
    """What leaves the optimum where it is: undiscounted, fixed beta, nothing whitened, nothing clipped."""
    plain: dict[str, object] = {
        "learning_rate": learning_rate, "learning_rate_schedule": "linear", "epochs": 2, "minibatches": 2,
        "gamma": 1.0, "gae_lambda": 1.0, "whiten_advantages": False, "clip_range": 1e6, "value_clip_range": 1e6,
        "max_grad_norm": 1e6, "value_coef": 0.5, "critic": "separate", "kl": KLSettings(coef=beta),
    }  # fmt: skip
    return PPOSettings(**(plain | changes))


def learner(folder: Path, ppo: PPOSettings) -> LocalLearner:
    """At temperature 1."""
    return LocalLearner(PolicySettings(model=str(folder)), ppo, temperature=1.0, seed=0)


def ppo_step(
    learner: Learner, world: World, ppo: PPOSettings, beta: float, step: int, steps: int, count: int
) -> tuple[dict[str, float], Evaluation]:
    """One step of the loop: sample `count` responses, evaluate, update. Its statistics, and all that was evaluated."""
    everything = learner.evaluate(world.batch)
    rng = np.random.default_rng([ppo.epochs, step])
    rows = world.sample(world.by_prompt(everything.logprobs), count, rng)
    evaluation = Evaluation(*(getattr(everything, name)[rows] for name in everything.__slots__))
    batch = TrainingBatch(*(getattr(world.batch, name)[rows] for name in world.batch.__slots__))
    batch = dataclasses.replace(batch, sampler_logprobs=evaluation.logprobs)
    targets, statistics = make_targets(batch, evaluation, beta, ppo)
    return statistics | learner.update(batch, targets, step, ppo.learning_rate_scale(step, steps)), everything
