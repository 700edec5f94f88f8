"""People as a reward model, behind the service: they judge through the store, as the labelling page does."""

import asyncio
from pathlib import Path

import pytest
from google.rpc.code_pb2 import Code

from plaudit.feedback.tasks import Kind, Rating
from plaudit.trajectory import Message

from .people import FLAG, SKIP, Desk, at_the_desk
from .serving import DIGITS, Running, failure, pb, scores, serving, take_apart, text, until


def people(folder: Path, **more: object) -> dict:
    return {"name": "people", "human": {"database": url(folder), **more}}


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/judgements.db"


def reasons(reply: pb.ScoreResponse) -> list[str | float]:
    return [
        take_apart(result.error).reason if result.WhichOneof("result") == "error" else result.score.score
        for result in reply.results
    ]


def waiting(running: Running) -> int:
    """Items that people are asked for now."""
    return running.server.catalog.admissions()[0].items


async def test_stars_and_thumbs_are_scores(tmp_path: Path):
    thumbs = {"name": "thumbs", "human": {"database": url(tmp_path), "kind": "thumbs"}}
    async with serving(people(tmp_path), thumbs) as running:
        with at_the_desk(url(tmp_path)):
            items = [text("p", "x" * more) for more in range(5)]
            stars, ups = await asyncio.gather(running.score(*items), running.score(*items, model="thumbs"))
    assert scores(stars) == [-1, -0.5, 0, 0.5, 1]
    assert [result.score.raw_score for result in stars.results] == [1, 2, 3, 4, 5]
    assert scores(ups) == [-1, -1, 1, 1, 1]
    assert stars.model.version != ups.model.version
    assert stars.model.calibration_id != ""


async def test_a_conversation_is_shown_as_one(tmp_path: Path):
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Bye"), ("assistant", "xx")]
    messages = [pb.Message(role=role, content=content) for role, content in turns]
    async with serving(people(tmp_path)) as running:
        with at_the_desk(url(tmp_path)) as desk:
            reply = await running.score(pb.ScoreItem(conversation=pb.Conversation(messages=messages)))
    assert scores(reply) == [0]
    (asked,) = desk.asked
    assert asked.task.prompt == tuple(Message(role, content) for role, content in turns[:-1])
    assert [answer.text for answer in asked.task.answers] == ["xx"]


async def test_what_is_no_text_is_its_own_status(tmp_path: Path):
    tokens = pb.ScoreItem(tokens=pb.TokenPair(prompt_ids=[1], response_ids=[2], tokenizer_sha256="0"))
    turns = pb.ScoreItem(conversation=pb.Conversation(messages=[pb.Message(role="user", content="Hi")]))
    async with serving(people(tmp_path)) as running:
        with at_the_desk(url(tmp_path)) as desk:
            assert reasons(await running.score(tokens, text("", "x"), turns)) == ["INVALID_ITEM", -0.5, "INVALID_ITEM"]
    assert len(desk.asked) == 1


async def test_candidates_are_judged_one_by_one_and_ranked_by_that(tmp_path: Path):
    candidates = [pb.Candidate(response=response) for response in ("x", "xxxx", "", "xx")]
    async with serving(people(tmp_path)) as running:
        with at_the_desk(url(tmp_path)) as desk:
            request = pb.RankCandidatesRequest(text="p", candidates=candidates)
            ranked = (await running.stub.RankCandidates(request)).ranked
            assert [one.index for one in ranked] == [1, 3, 0, 2]
            reply = await running.score(*(text("p", one.response) for one in candidates))
    assert scores(reply) == [-0.5, 1, -1, 0]
    assert [asked.task.kind for asked in desk.asked] == [Kind.RATING] * 4, "what was ranked is scored, and known"


async def test_what_to_go_by_stands_in_the_task(tmp_path: Path):
    async with serving(people(tmp_path, instructions="Is it true?")) as running:
        with at_the_desk(url(tmp_path)) as desk:
            await running.score(text("p", "x"))
    assert [asked.task.instructions for asked in desk.asked] == ["Is it true?"]


async def test_the_same_pair_is_asked_once_and_told_alike(tmp_path: Path):
    async with serving(people(tmp_path)) as running:
        calls = [asyncio.ensure_future(running.score(text("p", "xx"), text("p", "xx"))) for _ in range(3)]
        await until(lambda: waiting(running) == 3)
        with at_the_desk(url(tmp_path)) as desk:
            first = [scores(await call) for call in calls]
            again = await running.score(text("p", "xx"), text("p", "x"))
            other = await running.score(text("q", "xx"))
    assert first == [[0, 0]] * 3
    assert [(one.score.score, one.score.cache_hit) for one in again.results] == [(0, True), (-0.5, False)]
    assert not other.results[0].score.cache_hit
    assert desk.times() == {"xx": 2, "x": 1}, "another prompt is another pair"


async def test_several_people_are_asked_and_their_mean_counts(tmp_path: Path):
    stars = {"Ada": 5, "Bob": 2, "Cem": 1}
    async with serving(people(tmp_path, wanted=2)) as running:
        call = asyncio.ensure_future(running.score(text("p", "x")))
        desk = Desk(url(tmp_path))
        who = {name: desk.sign_in(name) for name in stars}
        await until(lambda: desk.judge(who["Ada"], lambda _: Rating(5)))
        await asyncio.sleep(0.5)
        assert not call.done(), "one of two is half of it"
        late = desk.store.next(who["Cem"])
        assert late is not None
        desk.store.skip(who["Cem"], late.assignment)
        desk.judge(who["Bob"], lambda _: Rating(2))
        assert scores(await call) == [0.25]
        desk.store.judge(who["Cem"], late.assignment, "late", Rating(1))
        assert scores(await running.score(text("p", "x"))) == [0.25], "who comes too late changes nothing"


async def test_what_is_flagged_or_passed_on_by_all_has_no_number(tmp_path: Path):
    def say(asked):
        return {"flag": FLAG, "skip": SKIP}.get(asked.task.answers[0].text) or Rating(4)

    async with serving(people(tmp_path, wanted=2), {**people(tmp_path), "name": "one"}) as running:
        with at_the_desk(url(tmp_path), "Ada", "Bob", say=say):
            reply = await running.score(text("", "flag"), text("", "fine"), text("", "skip"))
            assert reasons(reply) == ["DECLINED", 0.5, "DECLINED"]
            assert [take_apart(reply.results[at].error).code for at in (0, 2)] == [Code.INVALID_ARGUMENT] * 2
            again = await running.score(text("", "flag"), text("", "skip"), model="one")
            assert reasons(again) == ["DECLINED"] * 2


async def test_what_one_of_several_flags_is_judged_by_the_others(tmp_path: Path):
    async with serving(people(tmp_path, wanted=2)) as running:
        call = asyncio.ensure_future(running.score(text("p", "x")))
        desk = Desk(url(tmp_path))
        await until(lambda: desk.judge(desk.sign_in("Ada"), lambda _: FLAG))
        desk.judge(desk.sign_in("Bob"), lambda _: Rating(5))
        assert scores(await call) == [1]


async def test_it_is_passed_on_until_so_many_have(tmp_path: Path):
    async with serving(people(tmp_path, skips=2)) as running:
        call = asyncio.ensure_future(running.score(text("p", "x")))
        desk = Desk(url(tmp_path))
        persons = [desk.sign_in(name) for name in ("Ada", "Bob", "Cem", "Dov")]
        await until(lambda: desk.judge(persons[0], lambda _: SKIP))
        await asyncio.sleep(0.5)
        assert not call.done()
        desk.judge(persons[1], lambda _: SKIP)
        assert reasons(await call) == ["DECLINED"]


async def test_people_are_a_member_of_an_ensemble_too(tmp_path: Path):
    both = {"name": "both", "ensemble": {"members": ["digits", "people"]}}
    async with serving(people(tmp_path), DIGITS, both) as running:
        with at_the_desk(url(tmp_path)):
            assert scores(await running.score(text("p", "xx 1"), model="both")) == [pytest.approx(0.1)]


async def test_metrics_tell_how_long_people_take(tmp_path: Path):
    async with serving(people(tmp_path)) as running:

        def sample(name: str) -> float | None:
            return running.server.metrics.registry.get_sample_value(f"plaudit_reward_human_{name}", {"model": "people"})

        call = asyncio.ensure_future(running.score(text("p", "x"), text("p", "xx")))
        await until(lambda: sample("waiting_items") == 2)
        with at_the_desk(url(tmp_path)):
            await call
            assert sample("waiting_items") == 0
            assert (sample("judgement_seconds_count"), sample("judgement_seconds_sum")) == (2, 4)
            assert sample("wait_seconds_count") == 2
            assert sample("wait_seconds_sum") > 0.3


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({"wanted": 2}, True),
        ({"instructions": "Is it true?"}, True),
        ({"kind": "thumbs"}, True),
        ({"timeout": 5, "skips": 1, "priority": 0, "withdraw": False, "max_queue_items": 9}, False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
async def test_what_changes_the_meaning_of_a_score_changes_the_version(tmp_path: Path, change: dict, another: bool):
    async with serving(people(tmp_path), {**people(tmp_path, **change), "name": "changed"}) as running:
        listed = (await running.stub.ListModels(pb.ListModelsRequest())).models
    assert (len({model.provenance.version for model in listed}) == 2) is another


async def test_people_do_not_score_tokens(tmp_path: Path):
    async with serving(people(tmp_path)) as running:
        found = await failure(running.stub.ScoreTokens(pb.ScoreTokensRequest(items=[text("", "x")])))
        assert found.reason == "WRONG_METHOD"
