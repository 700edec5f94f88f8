"""What a policy replies to the prompts of the world: Ray workers write, with the settings of the run that follows."""

from collections.abc import Sequence
from pathlib import Path

from plaudit.policy.loading import load_tokenizer
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.rows import DataSettings
from plaudit.telemetry.progress import bar
from plaudit.trainer.prompts import read_prompts
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory

WORKERS = RolloutSettings(workers=2, group_size=128)


def draw_replies(
    model: Path, wanted: Sequence[tuple[DataSettings, int]], run: TrainSettings, seed: int
) -> list[list[Trajectory]]:
    """`wanted` are prompts and how many replies to each; replies to a prompt come beside each other."""
    policy = PolicySettings(model=str(model))
    connection = start_ray(None, num_cpus=WORKERS.workers)
    try:
        pool = RayRolloutPool(WORKERS, policy)
        found = [_replies(pool, policy, data, count, run, seed) for data, count in wanted]
        pool.close()
    finally:
        connection.close()
    return found


def _replies(
    pool: RayRolloutPool, policy: PolicySettings, data: DataSettings, count: int, run: TrainSettings, seed: int
) -> list[Trajectory]:
    tokenizer = load_tokenizer(policy)
    prompts = read_prompts(data, tokenizer, "plain")
    requests = [RolloutRequest(prompt, 0, sample) for prompt in prompts for sample in range(count)]
    sampling = Sampling(run.max_new_tokens, run.temperature, (int(tokenizer.eos_token_id),), seed)
    with bar(f"replies to {Path(data.sources[0]).stem}", len(requests)) as shown:
        pool.on_progress = lambda done, total: shown.advance(done - shown.done)
        return pool.generate(requests, sampling)
