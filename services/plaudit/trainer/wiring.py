"""One run from its settings to its end: builds its roles, in the order in which they can fail, and drives it."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from plaudit.context import check_context
from plaudit.errors import TERMINATED
from plaudit.outputs import lock_folder
from plaudit.policy.loading import load_config, load_stop_token_ids, load_tokenizer
from plaudit.ppo.kl import kl_controller
from plaudit.ppo.learner import Learner, LocalLearner
from plaudit.ppo.scores import ScoreShaper
from plaudit.rollout.cluster import MOST_LOCAL_CPUS, start_ray
from plaudit.rollout.engine import TRANSFORMERS
from plaudit.rollout.pool import RayRolloutPool
from plaudit.telemetry import tracing
from plaudit.telemetry.http import application
from plaudit.trainer import checkpoint
from plaudit.trainer.control import Control, State
from plaudit.trainer.loop import Loop
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.overlapped import OverlappedRollouts
from plaudit.trainer.pretraining import TextStream, read_texts
from plaudit.trainer.prompts import PromptStream, read_prompts
from plaudit.trainer.ranks import DataParallelLearner
from plaudit.trainer.record import (
    METRICS,
    RunRecord,
    check_trackers,
    claim_folder,
    describe,
    leave_no_trace,
)
from plaudit.trainer.resuming import fresh_state, resume
from plaudit.trainer.roles import Position, Rollouts
from plaudit.trainer.run import CHECKPOINTS, Run
from plaudit.trainer.samples import Sampler
from plaudit.trainer.scoring import RemoteScorer
from plaudit.trainer.service import TrainerServicer, serving
from plaudit.trainer.settings import TrainSettings
from plaudit.trainer.synchronous import SynchronousRollouts
from plaudit.trajectory import Prompt, Sampling

PROMPTS, HELD_OUT = "prompts.data", "prompts.held_out"
"""What they are called in a checkpoint."""


def drive(settings: TrainSettings, *, engine: str = TRANSFORMERS) -> int:
    """One run from here to its end; the exit code. `engine` is what its workers generate with."""
    try:
        with ExitStack() as stack:
            run = _wire(settings, engine, stack)
            ending = run.drive()
    except KeyboardInterrupt:
        print(f"{settings.folder}: {_what_is_kept(Path(settings.folder))}", file=sys.stderr, flush=True)
        raise
    return TERMINATED if ending is State.STOPPED and run.control.terminated else 0


def _what_is_kept(folder: Path) -> str:
    """After an end without a checkpoint."""
    if not (folder / "config.yaml").exists():
        return "nothing had begun yet"
    kept = checkpoint.existing(folder / CHECKPOINTS)
    where = f"goes on from {kept[-1].name}" if kept else "begins anew"
    return f"the same command {where}; SIGTERM or `plaudit control {folder} stop` would have written a checkpoint"


def _wire(settings: TrainSettings, engine: str, stack: ExitStack) -> Run:
    """`stack` closes every role in reverse."""
    check_trackers(settings.trackers)
    claim_folder(settings)
    folder = Path(settings.folder)
    lock = lock_folder(folder)
    stack.callback(lock.close)
    stack.callback(leave_no_trace, folder)
    control = Control(folder, settings.steps)
    stack.callback(control.closed)
    _trace(settings, stack)
    target = settings.ppo.kl.target_kl_nats_per_response
    metrics = TrainerMetrics(control.pool, target, lambda: control.status.state is State.PAUSED)
    addresses = stack.enter_context(_serving(settings, control, metrics))
    describe(folder, **addresses)
    tokenizer = load_tokenizer(settings.policy)
    prompts, held_out = _prompts(settings, tokenizer)
    texts = _texts(settings, tokenizer)
    scorer = RemoteScorer(settings.rewards, settings.max_missing_ratio)
    stack.callback(scorer.close)
    reward_models = scorer.wait_until_ready()
    print(f"plaudit train: {folder}: starting Ray, rollout workers and learner", flush=True)
    stack.callback(start_ray(settings.ray_address, num_cpus=MOST_LOCAL_CPUS).close)
    # After Ray's start, which installs a handler of its own.
    control.on_sigterm(settings.checkpoints.grace_s, lambda: _exit_at_once(control))

    learner = _learner(settings)
    stack.callback(learner.close)
    pool = RayRolloutPool(settings.rollout, settings.policy, engine=engine, traced=settings.tracing)
    stack.callback(pool.close)

    stop_ids = load_stop_token_ids(settings.policy, tokenizer)
    sampling = Sampling(settings.max_new_tokens, settings.temperature, stop_ids, settings.seed)
    rollouts = _rollouts(settings, prompts, pool, scorer, sampling, control.check)
    stack.callback(rollouts.close)
    loop = _loop(settings, int(tokenizer.pad_token_id), texts, rollouts, learner)
    sampler = _sampler(settings, held_out, sampling, pool, scorer, loop)

    named_prompts = {PROMPTS: prompts, HELD_OUT: held_out}
    state, resumed_from = resume(folder / CHECKPOINTS, fresh_state(loop, named_prompts, reward_models), loop)
    pool.leave_out(p for name, ids in state.set_aside.items() for p in named_prompts[name] if p.id in ids)
    pool.set_weights(state.step, learner.weights())
    record = stack.enter_context(RunRecord(settings, resume_at=state.step))
    earlier = record.rows()
    if earlier:
        metrics.resumed(state.step, earlier[-1])
    control.opened(state.step, earlier[-1]["time"] if earlier else None, resumed_from)
    models = {name: model.name for name, model in reward_models.items()}
    describe(folder, **addresses, reward_models=models, prompts=len(prompts), held_out=len(held_out))
    _announce(settings, state.step, addresses, resumed=resumed_from is not None)
    recent = deque(earlier, maxlen=settings.checkpoints.every)
    control.has_pool(pool)  # not before: from here on the run's end is told before the pool is closed
    if state.step < settings.steps:
        rollouts.begin(state.step, Position(state.in_flight, state.drawn))
    return Run(settings, loop, sampler, metrics, record, pool, scorer, control, state, named_prompts, recent)


def _trace(settings: TrainSettings, stack: ExitStack) -> None:
    """Before anything slow: the extra may be missing."""
    if (chosen := settings.tracing) is None:
        return
    folder = Path(settings.folder)
    tracing.start("trainer", chosen.endpoint, every=chosen.every, run=folder.name, file=folder / tracing.TRACES)
    stack.callback(tracing.stop)


def _rollouts(
    settings: TrainSettings,
    prompts: list[Prompt],
    pool: RayRolloutPool,
    scorer: RemoteScorer,
    sampling: Sampling,
    on_wait: Callable[[], None],
) -> Rollouts:
    """In the mode that the settings ask for."""
    per_step = settings.batch_size // settings.samples_per_prompt
    stream = PromptStream(prompts, per_step, settings.samples_per_prompt, settings.seed)
    if settings.rollout.mode == "synchronous":
        return SynchronousRollouts(stream, pool, scorer, sampling)
    return OverlappedRollouts(
        stream,
        pool,
        scorer,
        sampling,
        max_staleness=settings.rollout.max_staleness,
        steps=settings.steps,
        on_wait=on_wait,
    )


def _loop(
    settings: TrainSettings, pad_token_id: int, texts: TextStream | None, rollouts: Rollouts, learner: Learner
) -> Loop:
    """At its first step."""
    return Loop(
        rollouts=rollouts,
        learner=learner,
        controller=kl_controller(settings.ppo.kl),
        shaper=ScoreShaper(settings.ppo.scores),
        ppo=settings.ppo,
        pad_token_id=pad_token_id,
        steps=settings.steps,
        texts=texts,
    )


def _sampler(
    settings: TrainSettings,
    held_out: list[Prompt],
    sampling: Sampling,
    pool: RayRolloutPool,
    scorer: RemoteScorer,
    loop: Loop,
) -> Sampler:
    return Sampler(
        folder=Path(settings.folder) / "samples",
        prompts=held_out,
        per_prompt=settings.samples.per_prompt,
        best_of=settings.samples.best_of,
        sampling=sampling,
        pool=pool,
        scorer=scorer,
        learner=loop.learner,
        pad_token_id=loop.pad_token_id,
    )


def _announce(settings: TrainSettings, step: int, addresses: Mapping[str, str], *, resumed: bool) -> None:
    """The run is about to begin."""
    folder = settings.folder
    if step >= settings.steps:
        print(f"{folder} has done {step} steps, and steps is {settings.steps}: nothing is left to do", flush=True)
    elif resumed:
        print(f"resuming {folder} at step {step}", flush=True)
    print(
        f"plaudit train: {folder}, steered at {addresses['address']}, metrics at "
        f"http://{addresses['http_address']}/metrics",
        flush=True,
    )


@contextmanager
def _serving(settings: TrainSettings, control: Control, metrics: TrainerMetrics) -> Iterator[dict[str, str]]:
    """The run's own service, from before anything slow until after its end is told; yields where it is."""
    servicer = TrainerServicer(control, Path(settings.folder) / METRICS)
    app = application(metrics.registry, control.health)
    with serving(settings.address, settings.http_address, app, servicer) as (address, http_address):
        try:
            yield {"address": address, "http_address": http_address}
        finally:
            control.end(State.FAILED)  # unless it has ended otherwise


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
        return LocalLearner(
            settings.policy, settings.ppo, settings.temperature, settings.seed, reference=settings.reference
        )
    return DataParallelLearner(
        settings.policy,
        settings.ppo,
        settings.temperature,
        settings.seed,
        settings.ranks,
        settings.sharding,
        reference=settings.reference,
    )


def _exit_at_once(control: Control) -> None:
    """The grace period after SIGTERM is over: what resumes goes on from the newest checkpoint there is."""
    if control.status.state is not State.STOPPED:
        print("plaudit train: no new checkpoint within checkpoints.grace_s of SIGTERM", file=sys.stderr, flush=True)
    os._exit(TERMINATED)
