"""`plaudit iterate settings.yaml`: supervised fine-tuning once, then rounds of judging and learning.

    0. the first policy: fine-tuned, or given; answers the held-out prompts
    round by round:
    1. generate        the newest policy answers prompts                          plaudit generate
    2. judge           people at `plaudit label`, or a labelling model
    3. reward model    of all judgements so far                                   plaudit reward-model
    4. PPO             against it                                                 plaudit serve, plaudit train
    5. evaluate        the same held-out prompts, beside the rounds before        plaudit generate
    then the report over all rounds, and at the end the policy with its model card

Where everything lies: docs/iterate.md. The same command goes on where it was stopped, whatever stopped it.
"""

import dataclasses
import signal
from contextlib import ExitStack, closing
from functools import partial

from plaudit.errors import ConfigurationError
from plaudit.iteration.judging import judge
from plaudit.iteration.plan import Plan
from plaudit.iteration.processes import Programs
from plaudit.iteration.settings import MAY_CHANGE, IterateSettings
from plaudit.iteration.stages import Stages
from plaudit.outputs import LOCK, check_folder, lock_folder, write_text, writing
from plaudit.policy.sources import check_source
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.settings import difference, load, to_yaml

CONFIG = "config.yaml"


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    settings = load(IterateSettings, path, overrides)
    plan = Plan(settings)
    if not plan.folder.exists():  # and is not left behind for nothing
        check_source(plan.settings.policy.model, plan.settings.policy.revision)
    claim(plan)
    with closing(lock_folder(plan.folder)), Programs({}, end_by=signal.SIGTERM) as programs:
        write_text(plan.folder / CONFIG, to_yaml(plan.shown))
        iterate(plan, Stages(plan.folder, programs))
    return 0


def iterate(plan: Plan, stages: Stages) -> None:
    """All rounds that are not done yet."""
    from plaudit.iteration import card, report

    _first(plan, stages)
    for number in range(1, plan.settings.rounds + 1):
        _generate(plan, stages, number)
        stages.work(plan.round(number) / "judge", partial(judge, plan, number))
        _reward_model(plan, stages, number)
        _learn(plan, stages, number)
        print(f"report: {report.write(plan)}", flush=True)
    print(f"policy: {card.write(plan)}", flush=True)


def _first(plan: Plan, stages: Stages) -> None:
    """0. What the rounds start from, and how it answers."""
    if (sft := plan.sft()) is not None:
        stages.program("sft", plan.folder / "sft", sft, left=plan.folder / "sft")
    _evaluate(plan, stages, 0, None)


def _generate(plan: Plan, stages: Stages, number: int) -> None:
    """1. With the reward models of the round before, where they say what is worth asking."""
    path = plan.round(number) / "generate"
    if stages.done(path):
        return
    with ExitStack() as stack:
        ensemble = None
        if plan.settings.generate.uncertain_first and number > 1:
            before = plan.round(number - 1) / "serve"
            ensemble = stack.enter_context(stages.served(before, plan.server(number - 1)))
        asked = plan.generate(number, ensemble)
        stages.program("generate", path, asked, left=asked.output)


def _reward_model(plan: Plan, stages: Stages, number: int) -> None:
    """3. One, which is trained anew where it was stopped, or an ensemble, which goes on with the next member."""
    asked = plan.reward_model(number)
    left = asked.output if asked.ensemble is None else None
    stages.program("reward-model", plan.round(number) / "reward_model", asked, left=left)


def _learn(plan: Plan, stages: Stages, number: int) -> None:
    """4. and 5. While the reward models are served."""
    folder = plan.round(number)
    if stages.done(folder / "evaluate"):
        return
    with stages.served(folder / "serve", plan.server(number)) as reward:
        stages.program("train", folder / "ppo", plan.train(number), f"reward.address={reward.address}")
        _evaluate(plan, stages, number, reward)


def _evaluate(plan: Plan, stages: Stages, number: int, reward: RewardServerSettings | None) -> None:
    from plaudit.iteration.comparing import compare

    folder = plan.round(number)
    asked = plan.evaluate(number)
    stages.program("generate", folder / "respond", asked, left=asked.output)
    stages.work(folder / "evaluate", partial(compare, plan, number, reward))


def claim(plan: Plan) -> None:
    """Makes the folder. Raises when it cannot be written, or holds something else, or a run with other settings."""
    folder = plan.folder
    with writing("folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_folder("folder", folder)
    if not (folder / CONFIG).exists():
        if strange := sorted({file.name for file in folder.iterdir()} - {LOCK}):
            raise ConfigurationError(
                f"folder {folder} holds something else than a run of `plaudit iterate` ({strange[0]}): choose another "
                "(folder=...)"
            )
        return
    before = load(IterateSettings, folder / CONFIG)
    if (found := difference(_fixed(before), _fixed(plan.settings))) is not None:
        raise ConfigurationError(
            f"{folder} holds a run with another '{found[0]}' ({found[1]}, now {found[2]}): give this run a folder of "
            "its own (folder=...), or remove that one"
        )


def _fixed(settings: IterateSettings) -> dict[str, object]:
    """What a run keeps to."""
    tree = dataclasses.asdict(settings)
    for name in MAY_CHANGE:
        *rooms, last = name.split(".")
        inner = tree
        for room in rooms:
            inner = inner[room]
        inner.pop(last)
    for server in (tree["label"]["model"], tree["evaluate"]["gold"]):
        for key in ("address", "timeout_s", "startup_timeout_s") if server else ():
            server.pop(key)
    return tree
