"""The data-parallel learner: a `LocalLearner` per Ray actor, gradients summed over the ranks by torch.distributed.

    driver                         rank 0 .. N-1 (Ray actors)
      one call, all ranks  ---->   the same method with the same arguments
      waits for all        <----   evaluate: each its rows; everything else: rank 0's answer
                                   update, among the ranks: all_reduce of the gradient once per mini-batch; where they
                                   are sharded, all_gather of weights and reduce_scatter of gradients in every pass

Batches and states go into Ray's object store once and are read by every rank. A rank that dies or hangs ends the run:
the others could only wait for it in a collective.
"""

import contextlib
import dataclasses
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
import torch
import torch.distributed
from ray.exceptions import RayError, RayTaskError
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from plaudit.errors import PlauditError, RunFailed
from plaudit.policy.settings import PolicySettings
from plaudit.ppo.collective import TorchDistributed
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings, Sharding
from plaudit.ppo.targets import Evaluation, Targets
from plaudit.ppo.texts import TextBatch
from plaudit.trajectory import TrainingBatch, Weights

START_TIMEOUT_SECONDS = 600.0
"""Until every rank has a place in the cluster and its models loaded."""
CALL_TIMEOUT_SECONDS = 3600.0
"""For one evaluation, update or transfer: above any that is still alive."""


class Rank:
    """One rank, in a Ray actor. Built in two steps, so that all know where rank 0 is before they load anything."""

    def __init__(self, rank: int, world_size: int, threads: int) -> None:
        torch.set_num_threads(threads)
        self._rank, self._world_size = rank, world_size

    def open_store(self, timeout_seconds: float) -> tuple[str, int]:
        """Rank 0 only: the meeting point on this node's address, at a port that the system chose."""
        address = _node_address()
        self._store = _store(address, 0, self._world_size, timeout_seconds, is_master=True)
        return address, self._store.port

    def join(self, store: tuple[str, int], timeout_seconds: float) -> None:
        """Meets the other ranks: NCCL where there is a GPU, else gloo."""
        if self._rank:
            self._store = _store(*store, self._world_size, timeout_seconds, is_master=False)
        if interface := _interface_of(_node_address()):
            os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
        torch.distributed.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo",
            store=self._store,
            rank=self._rank,
            world_size=self._world_size,
            timeout=timedelta(seconds=timeout_seconds),
        )

    def load(
        self,
        policy: PolicySettings,
        ppo: PPOSettings,
        temperature: float,
        seed: int,
        sharding: Sharding,
        reference: PolicySettings | None,
    ) -> None:
        """Loads the models."""
        self._learner = LocalLearner(policy, ppo, temperature, seed, TorchDistributed(), sharding, reference)

    def evaluate(self, batch: TrainingBatch) -> Evaluation:
        """This rank's rows alone."""
        return self._learner.evaluate(batch)

    def call(self, method: str, *arguments: Any) -> Any:
        """Any other method of the learner. Rank 0 alone answers."""
        answer = getattr(self._learner, method)(*arguments)
        return answer if self._rank == 0 else None


class DataParallelLearner:
    """A `Learner` whose ranks share the rows of every mini-batch, and the weights too where they are sharded.

    Ray has to be initialised.
    """

    def __init__(
        self,
        policy: PolicySettings,
        ppo: PPOSettings,
        temperature: float,
        seed: int,
        ranks: int,
        sharding: Sharding = "replicate",
        *,
        reference: PolicySettings | None = None,
        cpus_per_rank: int = 1,
        start_timeout_seconds: float = START_TIMEOUT_SECONDS,
        call_timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> None:
        """One GPU per rank where the cluster has that many, else `cpus_per_rank` torch threads.

        Raises what a rank's loading raises, and RunFailed when the ranks can't all be started in time.
        """
        self._timeout = call_timeout_seconds
        gpus = int(ray.cluster_resources().get("GPU", 0) >= ranks)  # type: ignore[no-untyped-call]
        actor = ray.remote(num_cpus=cpus_per_rank, num_gpus=gpus, max_restarts=0)(Rank)
        self._ranks: list[Any] = [actor.remote(rank, ranks, cpus_per_rank) for rank in range(ranks)]
        try:
            self._start(start_timeout_seconds, policy, ppo, temperature, seed, sharding, reference)
        except BaseException:
            self.close()
            raise

    def _start(self, timeout: float, *settings: Any) -> None:
        [store] = _gather([self._ranks[0].open_store.remote(timeout)], "opening a meeting point", timeout)
        self._all("join", lambda rank: rank.join.remote(store, self._timeout), timeout)
        self._all("load", lambda rank: rank.load.remote(*settings), timeout)

    def evaluate(self, batch: TrainingBatch) -> Evaluation:
        reference = ray.put(batch)
        parts = self._all("evaluate", lambda rank: rank.evaluate.remote(reference), self._timeout)
        fields = [field.name for field in dataclasses.fields(Evaluation)]
        whole = Evaluation(*(np.empty(batch.response_mask.shape, dtype=np.float32) for _ in fields))
        for rank, part in enumerate(parts):
            for name in fields:
                getattr(whole, name)[rank :: len(parts)] = getattr(part, name)
        return whole

    def update(
        self,
        batch: TrainingBatch,
        targets: Targets,
        step: int,
        learning_rate_scale: float = 1.0,
        texts: TextBatch | None = None,
    ) -> dict[str, float]:
        statistics: dict[str, float] = self._everywhere("update", batch, targets, step, learning_rate_scale, texts)
        return statistics

    def weights(self) -> Weights:
        weights: Weights = self._everywhere("weights")
        return weights

    def save_state(self, path: Path) -> None:
        self._everywhere("save_state", path)

    def load_state(self, path: Path) -> None:
        self._everywhere("load_state", path)

    def save(self, folder: Path) -> None:
        self._everywhere("save", folder)

    def peak_memory_bytes(self) -> int:
        peak: int = self._everywhere("peak_memory_bytes")
        return peak

    def close(self) -> None:
        for rank in self._ranks:
            ray.kill(rank)
        self._ranks = []

    def _everywhere(self, method: str, *arguments: Any) -> Any:
        """The method on all ranks with the same arguments, sent once; rank 0's answer."""
        references = [ray.put(argument) for argument in arguments]
        return self._all(method, lambda rank: rank.call.remote(method, *references), self._timeout)[0]

    def _all(self, method: str, call: Callable[[Any], Any], timeout: float) -> list[Any]:
        return _gather([call(rank) for rank in self._ranks], method, timeout)


def _gather(calls: list[Any], method: str, timeout_seconds: float) -> list[Any]:
    """Every rank's answer. Raises when the first one fails: the others may be waiting for it in a collective."""
    waiting = list(calls)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=timeout_seconds)
        if not done:
            late = [calls.index(call) for call in waiting]
            raise RunFailed(f"learner rank {late[0]} gave no answer to '{method}' within {timeout_seconds:g} s")
        with _failures_explained(calls.index(done[0]), method):
            ray.get(done[0])
    return [ray.get(call) for call in calls]


@contextlib.contextmanager
def _failures_explained(rank: int, method: str) -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, PlauditError):
            raise error.cause from None
        raise RunFailed(f"learner rank {rank} failed in '{method}': {error.cause!r}") from error
    except RayError as error:  # its process, its node, or their memory
        reason = " ".join(str(error).split())
        raise RunFailed(
            f"learner rank {rank} died during '{method}': resume from the last checkpoint ({reason})"
        ) from None


def _store(address: str, port: int, world_size: int, timeout_seconds: float, *, is_master: bool) -> Any:
    timeout = timedelta(seconds=timeout_seconds)
    return TCPStore(address, port, world_size, is_master=is_master, timeout=timeout, wait_for_workers=False)


def _node_address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _interface_of(address: str) -> str | None:
    """The network interface with this address. Left alone, gloo takes the one of the host's name: often loopback."""
    for interface, addresses in psutil.net_if_addrs().items():
        if any(a.family in (socket.AF_INET, socket.AF_INET6) and a.address == address for a in addresses):
            return str(interface)
    return None
