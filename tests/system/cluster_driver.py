"""Runs on a machine of the cluster: a pool of workers, prompts in, trajectories out, one line of JSON about each."""

import json
import sys
import time
from queue import SimpleQueue

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.dispatch import Delivered, Event
from plaudit.rollout.pool import RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling


def main(address: str, workers: int, prompts: int, notes: str) -> None:
    """`notes`: a folder for the engine, which sleeps for a tenth of a second a prompt."""
    start_ray(address, num_cpus=0, timeout_s=60)
    settings = RolloutSettings(workers=workers, group_size=4, start_timeout_s=120)
    pool = RayRolloutPool(settings, PolicySettings(model=notes), engine="tests.rollout.engines:Slow")
    while pool.counts.alive < workers:
        time.sleep(0.1)
    say(ready=pool.worker_pids())
    events: SimpleQueue[Event] = SimpleQueue()
    requests = [RolloutRequest(Prompt(f"p{n}", (n,))) for n in range(prompts)]
    pool.submit(requests, Sampling(4, 1.0, (), 0), events.put)
    there: list[str] = []
    while len(there) < prompts:
        event = events.get(timeout=300)
        assert isinstance(event, Delivered), event
        there += [one.request.id for one in event.trajectories]
        say(there=len(there))
    counts = pool.counts
    say(ids=there, restarts=counts.restarts, redispatched=counts.redispatched_lost, alive=counts.alive)
    pool.close()


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
