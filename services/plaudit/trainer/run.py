"""One run: builds its roles in the order in which they can fail, drives the loop, and leaves a run folder behind."""

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from plaudit.addresses import join_address, split_address
from plaudit.context import check_context
from plaudit.errors import ConfigurationError, RunFailed
from plaudit.policy.loading import load_config, load_stop_token_ids, load_tokenizer
from plaudit.ppo.kl import KLController, kl_controller
from plaudit.ppo.learner import Learner, LocalLearner
from plaudit.ppo.scores import ScoreShaper
from plaudit.report import page as report
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.telemetry.http import serve_in_thread
from plaudit.telemetry.progress import Bar, bar
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import RunState
from plaudit.trainer.loop import Loop, TooFarFromReference
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.pretraining import TextStream, read_texts
from plaudit.trainer.prompts import PromptStream, read_prompts
from plaudit.trainer.ranks import DataParallelLearner
from plaudit.trainer.record import RunRecord, check_trackers, claim_folder
from plaudit.trainer.samples import Sampler
from plaudit.trainer.scoring import RemoteScorer
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import Prompt, Sampling


@dataclass
class Run:
    """One run, wired. `state` moves with every step."""

    settings: TrainSettings
    loop: Loop
    sampler: Sampler
    metrics: TrainerMetrics
    record: RunRecord
    pool: RayRolloutPool
    scorer: RemoteScorer
    state: RunState

    def drive(self, stop: threading.Event) -> bool:
        """Runs the remaining steps. True when `stop` ended it early: after the step under way and a checkpoint."""
        with bar("PPO", self.settings.steps, done=self.state.step) as progress:
            self.loop.on_phase = progress.note
            self.pool.on_group_done = lambda done, total: progress.note(f"generate {done}/{total} groups")
            while self.state.step < self.settings.steps:
                self._step(progress)
                if stop.is_set() or self.state.step % self.settings.checkpoints.every == 0:
                    self._save()
                if stop.is_set():
                    return True
            progress.note("held-out samples")
            self.sampler.draw(self.state.step)
        print(f"policy: {self._save()}\nreport: {report.write(Path(self.settings.folder))}", flush=True)
        return False

    def _step(self, progress: Bar) -> None:
        step = self.state.step
        if step % self.settings.samples.every == 0:
            progress.note("held-out samples")
            self.sampler.draw(step)
        missing_before = self.scorer.missing.copy()  # held-out samples' too
        try:
            metrics = self.loop.step(step)
        except TooFarFromReference as error:
            raise RunFailed(f"{error}; the policy as it was is in {self._save()}") from None
        controller, scores = self.loop.controller.state(), self.loop.shaper.state()
        self.state = replace(self.state, step=step + 1, kl_controller=controller, scores=scores)
        self.record.write(step, metrics)
        self.metrics.observe(step, metrics)
        self.metrics.observe_services(self.pool.counts, self.scorer.missing - missing_before, self.scorer.retries)
        progress.advance(note=f"score {metrics['score_mean']:+.3f}  KL {metrics['kl']:.2f}")

    def _save(self) -> Path:
        folder = Path(self.settings.folder) / "checkpoints"
        with self.metrics.checkpoint():
            return checkpoint.save(folder, self.state, self.loop.learner, self.settings.checkpoints.keep)


@contextmanager
def wired(settings: TrainSettings) -> Iterator[Run]:
    """Every role of a run, built in the order in which they can fail and closed in reverse."""
    with ExitStack() as stack:
        yield _wire(settings, stack)


def _wire(settings: TrainSettings, stack: ExitStack) -> Run:
    """Builds every role, in the order in which they can fail; `stack` closes them in reverse."""
    check_trackers(settings.trackers)
    claim_folder(settings)
    metrics = TrainerMetrics()
    http = serve_in_thread(metrics.application(settings.steps), *split_address(settings.http_address))
    stack.callback(http.close)
    tokenizer = load_tokenizer(settings.policy)
    prompts, held_out = _prompts(settings, tokenizer)
    texts = _texts(settings, tokenizer)
    scorer = RemoteScorer(settings.reward, settings.max_missing_ratio)
    stack.callback(scorer.close)
    reward_model = scorer.wait_until_ready()
    stack.callback(start_ray(settings.ray_address, num_cpus=_cpus(settings)).close)

    learner = _learner(settings)
    stack.callback(learner.close)
    controller, shaper = kl_controller(settings.ppo.kl), ScoreShaper(settings.ppo.scores)
    state = _resume(settings, learner, controller, shaper, reward_model.name)
    pool = RayRolloutPool(settings.rollout, settings.policy)
    stack.callback(pool.close)
    pool.set_weights(state.step, learner.weights())

    stop_ids = load_stop_token_ids(settings.policy, tokenizer)
    sampling = Sampling(settings.max_new_tokens, settings.temperature, stop_ids, settings.seed)
    per_step = settings.batch_size // settings.samples_per_prompt
    stream = PromptStream(prompts, per_step, settings.samples_per_prompt, settings.seed)
    pad = int(tokenizer.pad_token_id)
    loop = Loop(stream, pool, scorer, learner, controller, shaper, settings.ppo, sampling, pad, settings.steps, texts)
    folder = Path(settings.folder) / "samples"
    sampler = Sampler(folder, held_out, settings.samples.per_prompt, sampling, pool, scorer, learner, pad)
    record = stack.enter_context(RunRecord(settings, resume_at=state.step))
    address = join_address(split_address(settings.http_address)[0], http.port)
    record.describe(reward_model=reward_model.name, prompts=len(prompts), held_out=len(held_out), http_address=address)
    print(f"plaudit train: {settings.folder}, metrics at http://{address}/metrics", flush=True)
    return Run(settings, loop, sampler, metrics, record, pool, scorer, state)


def _prompts(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to train on and held-out ones, all of them short enough."""
    source = settings.prompts
    prompts = read_prompts(source.data, tokenizer, source.template)
    held_out = read_prompts(source.held_out, tokenizer, source.template) if source.held_out else []
    longest = max((*prompts, *held_out), key=lambda prompt: len(prompt.token_ids))
    check_context(
        load_config(settings.policy),
        len(longest.token_ids) + settings.max_new_tokens,
        f"prompt '{longest.id}' with max_new_tokens",
        "shorten or drop the prompt, or lower max_new_tokens",
    )
    return prompts, held_out


def _texts(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase) -> TextStream | None:
    """The pretraining mix, where there is one, each piece short enough."""
    if settings.pretraining is None:
        return None
    most = settings.pretraining.max_tokens
    check_context(load_config(settings.policy), most, "pretraining.max_tokens", "lower it")
    pieces = read_texts(settings.pretraining, tokenizer)
    return TextStream(pieces, settings.pretraining, settings.seed, int(tokenizer.pad_token_id))


def _learner(settings: TrainSettings) -> Learner:
    if settings.ranks == 1:
        return LocalLearner(settings.policy, settings.ppo, settings.temperature, settings.seed)
    return DataParallelLearner(settings.policy, settings.ppo, settings.temperature, settings.seed, settings.ranks)


def _resume(
    settings: TrainSettings, learner: Learner, controller: KLController, shaper: ScoreShaper, reward_model: str
) -> RunState:
    """The newest checkpoint's state, put into learner and controller; a fresh one where there is none."""
    found = checkpoint.existing(Path(settings.folder) / "checkpoints")
    if not found:
        return RunState(0, controller.state(), shaper.state(), reward_model)
    state = checkpoint.load(found[-1], learner)
    if state.reward_model != reward_model:
        raise ConfigurationError(
            f"{found[-1]} was trained against {state.reward_model}, but the server has {reward_model}: serve that one, "
            "or give this run a folder of its own (folder=...)"
        )
    controller.load_state(state.kl_controller)
    shaper.load_state(state.scores)
    print(f"resuming {settings.folder} at step {state.step}", flush=True)
    return state


def _cpus(settings: TrainSettings) -> int:
    """What a local Ray has to offer: all workers and ranks at once (they take turns in a synchronous run)."""
    return math.ceil(settings.rollout.workers * settings.rollout.cpus_per_worker) + settings.ranks
