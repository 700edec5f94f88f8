"""trl 0.11's `PPOTrainer`, on the mathematics of `plaudit.ppo`. docs/classic.md says where the two differ, and why."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from plaudit.classic import statistics
from plaudit.classic.config import PPOConfig
from plaudit.classic.core import set_seed
from plaudit.classic.kl import KLControl
from plaudit.classic.model import AutoModelForCausalLMWithValueHead, create_reference_model
from plaudit.classic.rows import collate, rows_of
from plaudit.classic.statistics import OfMiniBatch, Statistics
from plaudit.classic.whitening import with_whitened_rewards
from plaudit.policy.actor_critic import ActorCritic
from plaudit.policy.critics import Critic
from plaudit.policy.generation import left_padded
from plaudit.policy.loading import without_adapter
from plaudit.policy.special_tokens import merge_stop_ids, strip_generation_config
from plaudit.ppo.batches import Rows, minibatches
from plaudit.ppo.kl import is_too_negative
from plaudit.ppo.passes import Passes
from plaudit.ppo.scores import ScoreShaper
from plaudit.ppo.targets import Targets, make_targets, penalties
from plaudit.trajectory import TrainingBatch
from plaudit.uncertainty import Estimate

Collator = Callable[[list[Any]], Any]
NEUTRAL: dict[str, tuple[float | None, ...]] = {
    "top_k": (0, None),
    "top_p": (1, None),
    "num_beams": (1, None),
    "repetition_penalty": (1, None),
    "min_length": (-1, 0, None),  # a minimum forbids the end of sequence
    "min_new_tokens": (0, None),
}
"""With these values `generate` samples from the whole softmax."""
OF_TEXT = ("label", "query", "response")
"""Columns of a data set that stay for logging, beside those that the model's forward takes."""


class PPOTrainer:
    """One process, one device. `step` learns from queries, responses and their scores; the caller does the rest."""

    def __init__(
        self,
        config: PPOConfig | None = None,
        model: AutoModelForCausalLMWithValueHead | None = None,
        ref_model: AutoModelForCausalLMWithValueHead | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        dataset: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
        data_collator: Collator | None = None,
        num_shared_layers: int | None = None,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        training_data_collator: Collator | None = None,
    ) -> None:
        """Without `ref_model` the reference is `model` as it is now.

        `training_data_collator` changes nothing: `step` pads its rows itself.

        Raises ValueError for arguments of the wrong kind.
        """
        _check(config, model, ref_model, tokenizer)
        assert config is not None
        assert model is not None
        assert tokenizer is not None
        set_seed(config.seed)
        self.config, self.tokenizer, self.dataset = config, tokenizer, dataset
        self.accelerator = _accelerator(config)
        self.current_device = self.accelerator.device
        self.is_peft_model = model.is_peft_model
        self.model = model.to(self.current_device)
        strip_generation_config(without_adapter(self.model.pretrained_model))
        self.ref_model = self._reference(ref_model, num_shared_layers)
        strip_generation_config(without_adapter(self.ref_model.pretrained_model))
        self._core = ActorCritic(
            self.model.pretrained_model,
            Critic(None, self.model.v_head.summary),
            reference=self.ref_model.pretrained_model,
        ).to(self.current_device)
        if config.gradient_checkpointing:
            self.model.pretrained_model.gradient_checkpointing_enable({"use_reentrant": False})
        self.optimizer = optimizer or torch.optim.Adam(self._trained(), lr=config.learning_rate)
        self.lr_scheduler = lr_scheduler
        self.dataloader: Any = None if dataset is None else self.prepare_dataloader(dataset, data_collator)
        self._ppo = config.settings()
        self.kl_ctl = KLControl(self._ppo.kl)
        self._shaper = ScoreShaper(self._ppo.scores)
        self._temperature = 1.0  # of the last `generate`
        self.current_step = 0

    def prepare_dataloader(self, dataset: Any, data_collator: Collator | None = None) -> DataLoader[Any]:
        """Shuffled batches of `batch_size`, the last incomplete one left out."""
        if self.config.remove_unused_columns and hasattr(dataset, "remove_columns"):
            known = {*inspect.signature(self.model.forward).parameters, *OF_TEXT}
            dataset = dataset.remove_columns([name for name in dataset.column_names if name not in known])
        return DataLoader(
            dataset,
            batch_size=self.config.batch_size,
            collate_fn=data_collator or collate,
            shuffle=True,
            drop_last=True,
        )

    def generate(
        self,
        query_tensor: Tensor | list[Tensor],
        length_sampler: Callable[[], int] | None = None,
        batch_size: int = 4,
        return_prompt: bool = True,
        generate_ref_response: bool = False,
        **generation_kwargs: Any,
    ) -> Any:
        """Responses by transformers' `generate`: for one query (L,) a tensor (1, ...), for a list a list of (...).

        A list's responses end after their first end-of-sequence token. With `generate_ref_response`, the reference's
        too. The `temperature` given here is the one that `step` takes log-probabilities at.
        """
        options = _effective(generation_kwargs)
        self._temperature = float(options.get("temperature") or 1.0)
        _warn_of_filters(options)

        def answer(model: Any) -> Any:
            many = query_tensor if isinstance(query_tensor, list) else [query_tensor]
            answered = [
                response
                for start in range(0, len(many), batch_size)
                for response in self._generate(
                    model, many[start : start + batch_size], length_sampler, return_prompt, generation_kwargs
                )
            ]
            return answered if isinstance(query_tensor, list) else answered[0].unsqueeze(0)

        self._core.eval()
        response = answer(self.model.pretrained_model)
        if not generate_ref_response:
            return response
        with self._core.reference() as reference:
            return response, answer(reference)

    def step(
        self,
        queries: list[Tensor],
        responses: list[Tensor],
        scores: list[Tensor],
        response_masks: list[Tensor] | None = None,
    ) -> Statistics:
        """One PPO step over `batch_size` queries and responses (ids, (L,) each) with their scores. Its statistics.

        `response_masks`: 0 where a token of a response is not the policy's own and is not learnt from.
        """
        began = time.monotonic()
        end_of_sequence = self.tokenizer.eos_token_id
        batch = rows_of(queries, responses, scores, response_masks, self.config.batch_size, end_of_sequence)
        rows = self.config.mini_batch_size  # what fits in memory, as in trl
        passes = Passes(self._core, self._ppo, self._temperature, self.current_device, rows)
        evaluation = passes.evaluate(batch, np.arange(len(batch.scores)))
        shaped, kl_coef = self._shaper.shape(batch), self.kl_ctl.value
        targets, told = make_targets(batch, evaluation, kl_coef, self._ppo, shaped)
        if self.config.whiten_rewards:
            side = self.tokenizer.padding_side
            targets = with_whitened_rewards(targets, batch, shaped, evaluation, kl_coef, self._ppo, side)
        evaluated = time.monotonic()
        minibatches = self._learn(passes, batch, targets)
        estimates = np.where(batch.response_mask, penalties(evaluation, self._ppo).numpy(), 0)
        found = statistics.of_step(batch, shaped, evaluation, estimates, kl_coef, minibatches)
        _warn_of_negative_kl(Estimate(told["kl"], told["kl_standard_error"], len(queries)))
        self.kl_ctl.update(found["objective/kl"], len(queries))
        found["ppo/learning_rate"] = self.optimizer.param_groups[0]["lr"]
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        ended = time.monotonic()
        self.current_step += 1
        return found | {
            "time/ppo/forward_pass": evaluated - began,
            "time/ppo/optimize_step": ended - evaluated,
            "time/ppo/total": ended - began,
        }

    def log_stats(
        self,
        stats: Statistics,
        batch: dict[str, Any],
        rewards: Sequence[Tensor],
        columns_to_log: Iterable[str] = ("query", "response"),
    ) -> None:
        """Sends the numbers among `stats`, and the rewards' mean and deviation, to trackers.

        To those that have tables (wandb) also a table of `batch`'s texts, and the distributions among `stats`.
        """
        values = torch.stack([torch.as_tensor(reward, dtype=torch.float32).flatten()[0] for reward in rewards])
        numbers = {name: float(value) for name, value in stats.items() if np.ndim(value) == 0}
        numbers |= {"env/reward_mean": float(values.mean()), "env/reward_std": statistics.deviation(values)}
        self.accelerator.log(numbers, step=self.current_step)
        distributions = {name: value for name, value in stats.items() if np.ndim(value) == 1}
        distributions["env/reward_dist"] = values.numpy()
        columns = [name for name in columns_to_log if name in batch]
        for tracker in (one for one in self.accelerator.trackers if hasattr(one, "log_table")):
            tracker.log(distributions, step=self.current_step)
            if columns:
                rows = [list(row) for row in zip(*(batch[name] for name in columns), values.tolist(), strict=True)]
                tracker.log_table("game_log", columns=[*columns, "reward"], data=rows, step=self.current_step)

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False) -> None:
        """Model with value head, and tokenizer, as one folder."""
        if push_to_hub:
            raise ValueError("push_to_hub: nothing is pushed from here; push the folder with huggingface_hub")
        self.model.save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)

    def _reference(
        self, given: AutoModelForCausalLMWithValueHead | None, num_shared_layers: int | None
    ) -> AutoModelForCausalLMWithValueHead:
        if given is not None:
            return given.to(self.current_device)
        return create_reference_model(self.model, num_shared_layers)

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _learn(self, passes: Passes, batch: TrainingBatch, targets: Targets) -> list[Statistics]:
        """All epochs, unless the KL from the policy before the step ends them. Statistics of each mini-batch."""
        found: list[Statistics] = []
        for epoch in range(self._ppo.epochs):
            parts = minibatches(len(batch.scores), self._ppo.minibatches, self.config.seed, self.current_step, epoch)
            found += [self._learn_from(rows, passes, batch, targets) for rows in parts]
            if self.config.early_stopping and found[-1]["policy/policykl"] > 1.5 * self.config.target_kl:
                break
        return found

    def _learn_from(self, rows: Rows, passes: Passes, batch: TrainingBatch, targets: Targets) -> Statistics:
        """One optimizer step."""
        self.optimizer.zero_grad(set_to_none=False)
        gathered = OfMiniBatch(self._ppo)
        for part in passes.losses(batch, targets, rows, int(batch.response_mask[rows].sum())):
            torch.autograd.backward(part.loss)
            gathered.add(part)
        found = gathered.summary()
        if not (mean := float(found["policy/ratio"].mean())) <= self.config.ratio_threshold:  # NaN is above it too
            warnings.warn(
                f"the mean ratio {mean:.2f} is above ratio_threshold {self.config.ratio_threshold:g}: the "
                "gradient of this mini-batch is left out",
                stacklevel=4,
            )
            self.optimizer.zero_grad(set_to_none=False)
        if self.config.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trained(), self.config.max_grad_norm)
        self.optimizer.step()
        return found

    def _generate(
        self,
        model: Any,
        queries: list[Tensor],
        length_sampler: Callable[[], int] | None,
        return_prompt: bool,
        options: dict[str, Any],
    ) -> list[Tensor]:
        """Queries padded on the left; responses without padding."""
        if any(query.dim() != 1 for query in queries):
            raise ValueError("a query is a tensor of ids of shape (L,)")
        if length_sampler is not None:
            options = options | {"max_new_tokens": int(length_sampler())}
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        ids, mask = left_padded([query.tolist() for query in queries], int(pad), self.current_device)
        options = {"pad_token_id": int(pad)} | options
        answers = model.generate(input_ids=ids, attention_mask=mask, **options)[:, ids.shape[1] :]
        named = _effective(options).get("eos_token_id") or model.generation_config.eos_token_id
        stops = merge_stop_ids(named, self.tokenizer.eos_token_id)
        ended = [_until_end(answer, stops) for answer in answers]
        if not return_prompt:
            return ended
        return [torch.cat([query.to(ids.device), answer]) for query, answer in zip(queries, ended, strict=True)]


def _effective(options: dict[str, Any]) -> dict[str, Any]:
    """What `generate` is told, whether by name or in a `generation_config`."""
    given = options.get("generation_config")
    return (given.to_diff_dict() if given is not None else {}) | options


def _until_end(response: Tensor, stops: tuple[int, ...]) -> Tensor:
    """Up to and with the first token that ends it; what `generate` pads behind it is no part of it."""
    ends = torch.isin(response, torch.tensor(stops, device=response.device)).nonzero().flatten().tolist()
    return response[: ends[0] + 1] if ends else response


def _accelerator(config: PPOConfig) -> Accelerator:
    """For its device and its trackers. Raises ValueError where several processes were started."""
    accelerator = Accelerator(
        log_with=config.log_with,
        project_config=ProjectConfiguration(**config.project_kwargs),
        **config.accelerator_kwargs,
    )
    if accelerator.num_processes > 1:
        raise ValueError("PPOTrainer is one process: for several, `plaudit train` with `ranks`")
    config.world_size = 1
    numbers = {name: value for name, value in config.to_dict().items() if isinstance(value, int | float | str)}
    accelerator.init_trackers(config.tracker_project_name, config=numbers, init_kwargs=config.tracker_kwargs)
    return accelerator


def _check(config: object, model: object, ref_model: object, tokenizer: object) -> None:
    wanted = [
        ("config", config, PPOConfig),
        ("model", model, AutoModelForCausalLMWithValueHead),
        ("tokenizer", tokenizer, PreTrainedTokenizerBase),
    ]
    if ref_model is not None:
        wanted.append(("ref_model", ref_model, AutoModelForCausalLMWithValueHead))
    for name, given, kind in wanted:
        if not isinstance(given, kind):
            raise ValueError(f"{name} is a {type(given).__name__}, and should be a {kind.__name__}")


def _warn_of_filters(options: dict[str, Any]) -> None:
    """What changes the distribution that is sampled from, so that ratios to it mean nothing (rule 26)."""
    odd = [f"{name}={options[name]}" for name, values in NEUTRAL.items() if options.get(name, values[0]) not in values]
    if "top_k" not in options:
        odd.append("top_k=50 (transformers' own, unless top_k=0 is given)")
    if not options.get("do_sample", False):
        odd.append("do_sample=False")
    if odd:
        warnings.warn(
            f"PPO learns from samples of the whole softmax, and these are not: {', '.join(odd)}", stacklevel=3
        )


def _warn_of_negative_kl(kl: Estimate) -> None:
    """Of samples of the policy, k1's mean is negative by chance alone."""
    if is_too_negative(kl):
        warnings.warn(
            f"the KL is {kl.value:.2f} nats per response, far below 0: these responses were not sampled "
            "from this policy (other weights, another temperature, top_k or top_p)",
            stacklevel=3,
        )
