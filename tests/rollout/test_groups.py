"""Groups depend on the requests alone; every request comes out once, in its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import RunFailed
from plaudit.rollout.groups import Groups
from plaudit.trajectory import Prompt, RolloutRequest, Trajectory


def _requests(count: int) -> list[RolloutRequest]:
    return [RolloutRequest(Prompt(f"p{n}", (n,))) for n in range(count)]


def _trajectory(request: RolloutRequest) -> Trajectory:
    return Trajectory(request, request.prompt.token_ids, "", np.zeros(1, np.float32), "stop", 0)


@given(st.integers(0, 50), st.integers(1, 20), st.randoms(use_true_random=True))
def test_whatever_ends_first_and_whatever_is_lost_the_order_holds(count, size, random):
    requests = _requests(count)
    groups = Groups(requests, size, max_attempts=4)
    may_be_lost = dict.fromkeys(range(len(groups)), 3)
    flying: list[int] = []
    while groups.done < len(groups):
        while random.random() < 0.5 and (index := groups.take()) is not None:
            flying.append(index)
        if flying:
            index = flying.pop(random.randrange(len(flying)))
            if may_be_lost[index] and random.random() < 0.3:
                may_be_lost[index] -= 1
                groups.give_back(index, "lost")
            else:
                groups.finish(index, [_trajectory(request) for request in groups[index]])
    assert [trajectory.request for trajectory in groups.trajectories()] == requests
    assert groups.take() is None


def test_a_lost_group_is_the_next_to_go_out():
    groups = Groups(_requests(6), 2, max_attempts=3)
    assert [groups.take(), groups.take()] == [0, 1]
    groups.give_back(0, "lost")
    assert [groups.take(), groups.take(), groups.take()] == [0, 2, None]


def test_a_group_that_costs_too_much_is_named():
    groups = Groups(_requests(30), 15, max_attempts=2)
    groups.give_back(1, "ActorDiedError")
    with pytest.raises(RunFailed, match=r"'p15', 'p16'.*'p22' and 7 more.*cost 2 rollout workers.*ActorDiedError"):
        groups.give_back(1, "ActorDiedError")


def test_many_samples_of_a_prompt_name_it_once():
    requests = [RolloutRequest(Prompt("same", (1,)), sample_index=n) for n in range(4)]
    with pytest.raises(RunFailed, match=r"^prompts 'same': "):
        Groups(requests, 4, max_attempts=1).give_back(0, "x")
