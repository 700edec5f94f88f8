"""The learner: holds policy, critic and reference, evaluates batches and learns from them.

`Learner` is what the loop is handed; `LocalLearner` is the one that computes, alone or as one rank of several
(`trainer/ranks.py`). All ranks are given the same batch; each computes its share of the rows of every mini-batch,
gradients are summed over ranks, and all take the same optimizer step: each on the same weights, or on its part of them.
"""

import functools
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.policy.actor_critic import ActorCritic, is_critics
from plaudit.policy.critics import from_reward_model
from plaudit.policy.loading import CausalLM, load_causal_lm, load_tokenizer
from plaudit.policy.saving import save_policy
from plaudit.policy.settings import PolicySettings
from plaudit.policy.sharding import gathered
from plaudit.policy.weights import pack, trainable
from plaudit.ppo import snapshot
from plaudit.ppo.batches import Rows, minibatches
from plaudit.ppo.collective import Collective, Single
from plaudit.ppo.objective import UpdateStatistics
from plaudit.ppo.optimizer import Optimizer
from plaudit.ppo.passes import Passes
from plaudit.ppo.settings import PPOSettings, Sharding
from plaudit.ppo.targets import Evaluation, Targets, explained_variance
from plaudit.ppo.texts import TextBatch
from plaudit.trajectory import TrainingBatch, Weights

KIBIBYTE = 1024
"""What Linux counts the memory of a process in."""


class Learner(Protocol):
    """The trainer's view of the models."""

    def evaluate(self, batch: TrainingBatch) -> Evaluation:
        """Log-probabilities under policy and reference, and values, all of the weights as they are now."""
        ...

    def update(
        self,
        batch: TrainingBatch,
        targets: Targets,
        step: int,
        learning_rate_scale: float = 1.0,
        texts: TextBatch | None = None,
    ) -> dict[str, float]:
        """All epochs over one batch, and over `texts` beside it; the rows' order follows from the seed and `step`.

        Returns `UpdateStatistics`.
        """
        ...

    def weights(self) -> Weights:
        """What rollout workers need (`policy.weights.pack`): the policy's trained weights, without the critic.

        They may be those that learn, not copies: send them before the next update.
        """
        ...

    def save_state(self, path: Path) -> None:
        """Writes everything that is needed to go on exactly from here, as `ppo.snapshot` names it."""
        ...

    def load_state(self, path: Path) -> None:
        """Goes on from there. Raises ConfigurationError where the state is of another model or reference."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the policy in Hugging Face format, with tokenizer; the critic as safetensors beside it."""
        ...

    def peak_memory_bytes(self) -> int:
        """The most memory in use: of the GPU since the last call; without one, of the process since its start."""
        ...

    def close(self) -> None:
        """Frees what is held."""
        ...


class LocalLearner:
    """Computes in this process, on its GPU if it has one.

    As rank r of R it evaluates rows r, r + R, r + 2 R .. alone. All ranks have to call every method but `close`
    together; rank 0 is the one that has weights and a state to tell, and that saves.
    """

    def __init__(
        self,
        policy: PolicySettings,
        ppo: PPOSettings,
        temperature: float,
        seed: int,
        collective: Collective | None = None,
        sharding: Sharding = "replicate",
        reference: PolicySettings | None = None,
    ) -> None:
        """`temperature` is the one that responses are sampled at: log-probabilities are of that distribution.

        Without `reference` it is the policy as it is now. To shard takes the default process group of
        `torch.distributed`, as the collective.
        """
        self._ppo, self._seed = ppo, seed
        self._collective = collective or Single()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer = load_tokenizer(policy)
        critic = ppo.critic if ppo.critic_model is None else from_reward_model(ppo.critic_model, self._tokenizer)
        frozen = None if reference is None else _load_reference(reference, self._tokenizer)
        self._model = ActorCritic(load_causal_lm(policy), critic, getattr(torch, policy.dtype), frozen)
        self._sharded = sharding == "full"
        if self._sharded:
            self._model.shard(self._device)
        else:
            self._model.to(self._device)
        self._passes = Passes(self._model, ppo, temperature, self._device)
        self._trained = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        self._optimizer = Optimizer(self._trained, ppo, self._collective)
        self._nonfinite_updates = 0

    def evaluate(self, batch: TrainingBatch) -> Evaluation:
        own, passes = self._share(np.arange(len(batch.scores)), functools.partial(self._passes.count, batch))
        return self._passes.evaluate(batch, own, passes)

    def update(
        self,
        batch: TrainingBatch,
        targets: Targets,
        step: int,
        learning_rate_scale: float = 1.0,
        texts: TextBatch | None = None,
    ) -> dict[str, float]:
        statistics = UpdateStatistics(self._collective, self._device, learns_values=self._ppo.learns_values)
        for rows, of_texts in self._minibatches(len(batch.scores), 0 if texts is None else len(texts.input_ids), step):
            statistics.begin_minibatch()
            self._accumulate_gradient(batch, targets, rows, statistics)
            if self._too_far(statistics):
                break
            if texts is not None and len(of_texts):
                self._accumulate_texts(texts, of_texts, statistics)
            norm, applied = self._optimizer.step(learning_rate_scale, critic_only=step < self._ppo.critic_warmup_steps)
            self._nonfinite_updates += not applied
            statistics.end_minibatch(norm)
        found = statistics.summary() | {
            "learning_rate": self._ppo.learning_rate * learning_rate_scale,
            "nonfinite_updates": float(self._nonfinite_updates),
        }
        if self._ppo.learns_values:
            found["explained_variance"] = explained_variance(targets.old_values, targets.returns, batch.response_mask)
        return found

    def weights(self) -> Weights:
        return pack(gathered(trainable(self._model.causal_lm), keep=self._tells))

    def save_state(self, path: Path) -> None:
        state = gathered(self._restorable(), keep=self._tells)  # on the CPU they are those that learn, not copies
        state["nonfinite_updates"] = torch.tensor(self._nonfinite_updates)
        state["reference_sha256"] = self._reference_sha256
        if self._tells:
            save_file(state, path)

    def load_state(self, path: Path) -> None:
        with safe_open(path, framework="pt") as state:
            if not torch.equal(state.get_tensor("reference_sha256"), self._reference_sha256):
                raise ConfigurationError(
                    "the checkpoint was made with another reference policy: resume with the same model"
                )
            snapshot.restore(self._restorable(), state)
            self._nonfinite_updates = int(state.get_tensor("nonfinite_updates"))

    def save(self, folder: Path) -> None:
        save_policy(self._model.causal_lm, self._tokenizer, folder, write=self._tells)
        critic = gathered({name: p for name, p in self._trained.items() if is_critics(name)}, keep=self._tells)
        if self._tells:
            save_file({name: p.contiguous() for name, p in critic.items()}, folder / "critic.safetensors")

    def peak_memory_bytes(self) -> int:
        if self._device.type == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak

    def close(self) -> None:
        del self._model, self._passes, self._trained, self._optimizer

    @property
    def _tells(self) -> bool:
        return self._collective.rank == 0

    def _share(self, rows: Rows, count: Callable[[Rows], int]) -> tuple[Rows, int]:
        """This rank's rows, and how many passes it runs at least: sharded, as many as the rank that needs most."""
        shares = [rows[rank :: self._collective.world_size] for rank in range(self._collective.world_size)]
        return shares[self._collective.rank], max(map(count, shares)) if self._sharded else 0

    def _minibatches(self, rows: int, texts: int, step: int) -> Iterator[tuple[Rows, Rows]]:
        """Of all epochs: the responses and the texts of each optimizer step."""
        for epoch in range(self._ppo.epochs):
            of_rows = minibatches(rows, self._ppo.minibatches, self._seed, step, epoch)
            yield from zip(of_rows, np.array_split(np.arange(texts), len(of_rows)), strict=True)

    def _too_far(self, statistics: UpdateStatistics) -> bool:
        """Whether the policy has left the one before this step by more than the limit: the brake on one step."""
        limit = self._ppo.kl.update_limit_nats_per_token
        return limit is not None and statistics.approx_kl() > limit

    def _accumulate_gradient(
        self, batch: TrainingBatch, targets: Targets, rows: Rows, statistics: UpdateStatistics
    ) -> None:
        """This rank's part of a mini-batch's gradient: a sum over its rows, divided by the tokens of all rows."""
        self._optimizer.zero_gradient()
        tokens = int(batch.response_mask[rows].sum())
        own, passes = self._share(rows, functools.partial(self._passes.count, batch))
        for part in self._passes.losses(batch, targets, own, tokens, passes):
            torch.autograd.backward(part.loss)
            statistics.add(part.statistics, part.mask)

    def _accumulate_texts(self, texts: TextBatch, rows: Rows, statistics: UpdateStatistics) -> None:
        """This rank's part, divided by the tokens of all of the optimizer step's texts: a count of their own."""
        statistics.begin_texts()
        tokens = texts.predicted(rows)
        own, passes = self._share(rows, functools.partial(self._passes.count_of_texts, texts))
        for loss in self._passes.text_losses(texts, own, tokens, passes):
            torch.autograd.backward(loss)
            statistics.add_text(loss / texts.coef)

    def _restorable(self) -> dict[str, Tensor]:
        """All tensors that a checkpoint holds, by their names in it."""
        model = {f"model.{name}": parameter for name, parameter in self._trained.items()}
        return model | {f"adam.{name}": tensor for name, tensor in self._optimizer.state().items()}

    @functools.cached_property
    def _reference_sha256(self) -> Tensor:
        return snapshot.sha256(self._model.reference_weights())


def _load_reference(reference: PolicySettings, tokenizer: PreTrainedTokenizerBase) -> CausalLM:
    """Raises ConfigurationError where its tokens are not the policy's."""
    if load_tokenizer(reference).get_vocab() != tokenizer.get_vocab():
        raise ConfigurationError(
            f"reference '{reference.model}' reads other tokens than the policy: give a model with the same tokenizer"
        )
    return load_causal_lm(reference)
