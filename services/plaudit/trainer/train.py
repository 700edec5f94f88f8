"""`plaudit train settings.yaml`: wires the roles together, runs the loop, and leaves a run folder behind."""

import math
import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from plaudit import settings as plaudit_settings
from plaudit.errors import ConfigurationError
from plaudit.policy.generation import check_context
from plaudit.policy.loading import load_config, load_stop_token_ids, load_tokenizer
from plaudit.ppo.kl import KLController, kl_controller
from plaudit.ppo.learner import Learner, LocalLearner
from plaudit.report import page as report
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.telemetry.http import serve_in_thread
from plaudit.telemetry.progress import bar
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import RunState
from plaudit.trainer.loop import Loop
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.prompts import PromptStream, read_prompts
from plaudit.trainer.ranks import DataParallelLearner
from plaudit.trainer.record import RunRecord, check_same_run
from plaudit.trainer.samples import Sampler
from plaudit.trainer.scoring import RemoteScorer
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import Prompt, Sampling

TERMINATED = 143
"""Exit code after a checkpoint on SIGTERM."""


def run(path: str, overrides: list[str]) -> int:
    """Runs the settings' PPO run to its end, from its newest checkpoint if it has one.

    What can be wrong is found cheapest first: settings, data, reward server, Ray, model.
    """
    settings = plaudit_settings.load(TrainSettings, path, overrides)
    check_same_run(settings)
    quiet_libraries()
    stop = _stop_on_sigterm()
    with ExitStack() as stack:
        wired = _wire(settings, stack)
        return TERMINATED if _drive(wired, stop) else 0


@dataclass(frozen=True)
class Run:
    """One run, wired."""

    settings: TrainSettings
    loop: Loop
    sampler: Sampler
    metrics: TrainerMetrics
    record: RunRecord
    state: RunState
    pool: RayRolloutPool
    scorer: RemoteScorer


def _drive(run: Run, stop: threading.Event) -> bool:
    """Runs the remaining steps. True when SIGTERM ended it early; then a checkpoint is written first."""
    settings, state = run.settings, run.state
    with bar("PPO", settings.steps, done=state.step) as progress:
        run.loop.on_phase = progress.note
        for step in range(state.step, settings.steps):
            if step % settings.samples.every == 0:
                progress.note("held-out samples")
                run.sampler.draw(step)
            metrics = run.loop.step(step)
            state = replace(state, step=step + 1, episodes=state.episodes + int(metrics["episodes"]))
            run.record.write(step, metrics)
            run.metrics.observe(step, metrics, run.pool.counts, run.scorer.missing)
            progress.advance(note=f"score {metrics['score_mean']:+.3f}  KL {metrics['kl']:.2f}")
            if stop.is_set() or state.step % settings.checkpoints.every == 0:
                _save(run, state)
            if stop.is_set():
                return True
    _finish(run, state)
    return False


def _finish(run: Run, state: RunState) -> None:
    run.sampler.draw(state.step)
    saved = _save(run, state)
    print(f"policy: {saved}\nreport: {report.write(Path(run.settings.folder))}", flush=True)


def _save(run: Run, state: RunState) -> Path:
    state = replace(state, kl_controller=run.loop.controller.state())
    folder = Path(run.settings.folder) / "checkpoints"
    with run.metrics.checkpoint():
        return checkpoint.save(folder, state, run.loop.learner, run.settings.checkpoints.keep)


def _wire(settings: TrainSettings, stack: ExitStack) -> Run:
    """Builds every role, in the order in which they can fail; `stack` closes them in reverse."""
    tokenizer = load_tokenizer(settings.policy)
    prompts, held_out = _prompts(settings, tokenizer)
    scorer = RemoteScorer(settings.reward)
    stack.callback(scorer.close)
    reward_model = scorer.wait_until_ready()
    metrics = TrainerMetrics()
    stack.callback(serve_in_thread(metrics.application(settings.steps), *_host_and_port(settings.http_address)).close)
    stack.callback(start_ray(settings.ray_address, num_cpus=_cpus(settings)).close)

    learner = _learner(settings)
    stack.callback(learner.close)
    controller = kl_controller(settings.ppo.kl)
    state = _resume(settings, learner, controller, reward_model.name)
    pool = RayRolloutPool(settings.rollout, settings.policy)
    stack.callback(pool.close)
    pool.set_weights(state.step, learner.weights())

    stop_ids = load_stop_token_ids(settings.policy, tokenizer)
    sampling = Sampling(settings.max_new_tokens, settings.temperature, stop_ids, settings.seed)
    per_step = settings.batch_size // settings.samples_per_prompt
    stream = PromptStream(prompts, per_step, settings.samples_per_prompt, settings.seed)
    pad = int(tokenizer.pad_token_id)
    loop = Loop(stream, pool, scorer, learner, controller, settings.ppo, sampling, pad, settings.steps)
    folder = Path(settings.folder) / "samples"
    sampler = Sampler(folder, held_out, settings.samples.per_prompt, sampling, pool, scorer, learner, pad)
    record = stack.enter_context(RunRecord(settings, resume_at=state.step))
    record.describe(reward_model=reward_model.name, prompts=len(prompts), held_out=len(held_out))
    return Run(settings, loop, sampler, metrics, record, state, pool, scorer)


def _prompts(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to train on and held-out ones, all of them short enough."""
    source = settings.prompts
    prompts = read_prompts(source.data, tokenizer, source.template)
    held_out = read_prompts(source.held_out, tokenizer, source.template) if source.held_out else []
    check_context(load_config(settings.policy), [*prompts, *held_out], settings.max_new_tokens)
    return prompts, held_out


def _learner(settings: TrainSettings) -> Learner:
    if settings.ranks == 1:
        return LocalLearner(settings.policy, settings.ppo, settings.temperature, settings.seed)
    return DataParallelLearner(settings.policy, settings.ppo, settings.temperature, settings.seed, settings.ranks)


def _resume(settings: TrainSettings, learner: Learner, controller: KLController, reward_model: str) -> RunState:
    """The newest checkpoint's state, put into learner and controller; a fresh one where there is none."""
    found = checkpoint.existing(Path(settings.folder) / "checkpoints")
    if not found:
        return RunState(step=0, kl_controller=controller.state(), reward_model=reward_model, episodes=0)
    state = checkpoint.load(found[-1], learner)
    if state.reward_model != reward_model:
        raise ConfigurationError(
            f"{found[-1]} was trained against {state.reward_model}, but the server has {reward_model}: serve that one, "
            "or give this run a folder of its own (folder=...)"
        )
    controller.load_state(state.kl_controller)
    print(f"resuming {settings.folder} at step {state.step}", flush=True)
    return state


def _cpus(settings: TrainSettings) -> int:
    """What a local Ray has to offer: all workers and ranks at once (they take turns in a synchronous run)."""
    return math.ceil(settings.rollout.workers * settings.rollout.cpus_per_worker) + settings.ranks


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigurationError(f"http_address '{address}' is not of the form host:port, such as 127.0.0.1:9100")
    return host, int(port)


def _stop_on_sigterm() -> threading.Event:
    """Set by SIGTERM; the loop looks at it after each step."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop
