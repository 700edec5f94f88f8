"""What stands on the screen."""

import io
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from plaudit.top import endpoints
from plaudit.top.ask import Answer
from plaudit.top.endpoints import Board, RunFolder
from plaudit.top.figures import curve, duration, figure, percent, signed
from plaudit.top.frame import Frame
from plaudit.top.page import Page, parse

NOW = 1_800_000_000.0

RUN = """\
plaudit_trainer_step {step}
plaudit_trainer_steps_total {step}
plaudit_trainer_last_step_timestamp_seconds {ended}
plaudit_trainer_tokens_total {tokens}
plaudit_rollout_tokens_total {tokens}
plaudit_trainer_phase_duration_seconds_sum{{phase="update"}} {seconds}
plaudit_trainer_phase_duration_seconds_sum{{phase="generate"}} {seconds}
plaudit_trainer_phase_duration_seconds_sum{{phase="score"}} 2
plaudit_ppo_score_mean {score}
plaudit_ppo_reward_mean 0.25
plaudit_ppo_kl {kl}
plaudit_ppo_kl_coef 0.05
plaudit_ppo_entropy 2.1
plaudit_ppo_clip_fraction 0.082
plaudit_ppo_explained_variance 0.41
plaudit_rollout_workers{{state="generating"}} 3
plaudit_rollout_workers{{state="idle"}} 0
plaudit_rollout_workers{{state="lost"}} 1
plaudit_rollout_worker_restarts_total 2
plaudit_rollout_redispatched_total{{reason="worker_lost"}} 5
plaudit_rollout_queue_prompts 7
plaudit_rollout_policy_version {step}
plaudit_trainer_stale_dropped_total 0
plaudit_rollout_duplicates_dropped_total 1
plaudit_reward_client_missing_total{{reason="UNAVAILABLE"}} 3
plaudit_reward_client_retries_total{{code="UNAVAILABLE"}} 4
plaudit_checkpoint_last_success_timestamp_seconds 1799999910
"""
SERVER = """\
plaudit_reward_model_info{{model="helpful",version="a1",digest="d",dtype="float32"}} 1
plaudit_reward_items_total{{model="helpful",outcome="ok"}} {items}
plaudit_reward_items_total{{model="helpful",outcome="input_too_long"}} {cut}
plaudit_reward_requests_total{{code="OK",method="Score",model="helpful"}} 10
plaudit_reward_requests_total{{code="UNAVAILABLE",method="Score",model="helpful"}} {cut}
plaudit_reward_request_duration_seconds_bucket{{le="0.01",method="Score"}} 0
plaudit_reward_request_duration_seconds_bucket{{le="0.1",method="Score"}} {items}
plaudit_reward_request_duration_seconds_bucket{{le="+Inf",method="Score"}} {items}
plaudit_reward_queue_items 12
plaudit_reward_queue_drain_seconds 0.31
plaudit_reward_batch_items_sum {items}
plaudit_reward_batch_items_count {batches}
plaudit_reward_batch_padding_ratio_sum {cut}
plaudit_reward_batch_padding_ratio_count {batches}
plaudit_reward_cache_hits_total {cut}
plaudit_reward_cache_misses_total {items}
"""
RUN_PAGES = [
    parse(RUN.format(step=11, ended=NOW - 33, tokens=5000, seconds=10, score=-0.5, kl=0.5)),
    parse(RUN.format(step=12, ended=NOW - 3, tokens=6200, seconds=20, score=0.412, kl=3.21)),
]
SERVER_PAGES = [
    parse(SERVER.format(items=100, cut=0, batches=10)),
    parse(SERVER.format(items=500, cut=5, batches=35)),
]
HEALTH = {"state": "running", "phase": "update", "step": 12, "steps": 100, "seconds_since_last_step": 3.2}


@pytest.fixture
def board() -> Board:
    """Two looks at a run and at a reward server, 10 s apart."""
    board = Board(["127.0.0.1:8001", "127.0.0.1:9090"])
    run, server = board.endpoints
    for at, (one, other) in enumerate(zip(RUN_PAGES, SERVER_PAGES, strict=True)):
        run.answer, server.answer = Answer(one, {**HEALTH, "folder": "/runs/x"}), Answer(other, {"status": "ok"})
        run.run.look(one)
        server.server.look(10.0 * at, other)
    return board


def shown(board: Board, width: int = 80, **options: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(Frame(board, NOW, 1.0, **options))
    return console.file.getvalue().splitlines()


GOLDEN = """\
── run  /runs/x ────────────────────────────────────────────── 127.0.0.1:8001 ──
 state    running update  3.2 s since the last step
 step     12 of 100  ━━━━━━━━━━━━━━━━━━━━  120 steps/h  44 min left
 tokens   40 generated/s  40 trained/s
 score    +0.412 ▁█  +0.250 reward
 KL       3.21 nats ▁█  0.050 coef
 update   2.10 entropy  0.082 clipped  0.410 variance explained
 phases   50 % generate  0 % score  50 % update
 workers  3 generating  1 lost
 pool     12 version  7 queued  2 restarts  5 re-dispatched  1 dropped
 rewards  3 missing (unavailable 3)  4 retries  2 min since the checkpoint
── reward server  helpful ──────────────────────────────────── 127.0.0.1:9090 ──
 state    ready numbers of the last 30 s
 items    40.5 items/s                    █  0.500 UNAVAILABLE/s
          0.500 input_too_long/s
 requests 55.0 ms p50  99.1 ms p99  12 items queued  310 ms to drain
 batch    16 items  20 % padding  1.2 % cache hits
"""


def test_a_frame_is_as_it_was(board: Board) -> None:
    head, *rest = shown(board)
    assert head.startswith("plaudit top  2027-01-1")
    assert "\n".join(rest) + "\n" == GOLDEN


@pytest.mark.parametrize("width", [20, 40, 60, 200])
def test_lines_break_between_facts(board: Board, width: int) -> None:
    rows = shown(board, width)
    assert max(map(len, rows)) <= width
    if width >= 40:
        for fact in ("+0.412 ▁█", "0.410 variance explained", "5 re-dispatched", "99.1 ms p99", "127.0.0.1:8001"):
            assert sum(fact in row for row in rows) == 1


def test_what_does_not_fit_is_counted(board: Board) -> None:
    rows = shown(board, height=10)
    assert len(rows) == 10
    assert rows[-1] == f" {len(shown(board)) - 9} more lines: a taller terminal shows them"
    assert shown(board, height=18) == shown(board)


def test_a_run_and_two_reward_servers_fit_a_small_terminal(board: Board) -> None:
    board.endpoints[1].server.look(20.0, SERVER_PAGES[1])  # none of whose items failed
    rows = shown(board)
    of_a_server = len(rows) - next(index for index, row in enumerate(rows) if "reward server" in row)
    assert len(rows) + of_a_server <= 24


def test_a_server_that_is_away_keeps_its_last_numbers(board: Board) -> None:
    server = board.endpoints[1]
    server.lost_at, server.problem = NOW - 125, "connection refused"
    rows = shown(board)
    assert any("unreachable since" in row and "2 min  connection refused" in row for row in rows)
    assert any("40.5 items/s" in row for row in rows)
    assert not any("ready" in row for row in rows)


@pytest.mark.parametrize("state", ["done", "stopped", "failed"])
def test_a_run_that_ended_is_not_missed(board: Board, state: str) -> None:
    run = board.endpoints[0]
    run.lost_at, run.problem = NOW - 5, "connection refused"
    run.answer = Answer(run.answer.page, {**run.answer.health, "state": state})
    rows = shown(board)
    assert any(row.startswith(f" state    {state} the run ended, its process is gone since") for row in rows)
    assert not any("unreachable" in row for row in rows)


def test_a_run_before_its_first_step_has_no_numbers_of_learning() -> None:
    board = Board(["127.0.0.1:8001"])
    (run,) = board.endpoints
    page = parse(RUN.format(step=0, ended=0, tokens=0, seconds=0, score=0, kl=0))
    run.answer = Answer(page, {"state": "starting", "step": 40, "steps": 100})
    run.run.look(page)
    rows = shown(board)
    assert " score    -  - reward" in rows
    assert " step     40 of 100  ━━━━━━━━━━━━━━━━━━━━  - steps/h" in rows


def test_models_that_nobody_shows_are_named(board: Board) -> None:
    board.folders.append(RunFolder(Path("x"), board.endpoints[0], {"models/safe/versions/2": "rewards:50051"}))
    rows = "\n".join(shown(board))
    for part in (
        " not seen models/safe/versions/2 at rewards:50051",
        f"not on port {endpoints.USUAL_PORT} of its host",
        "name its server's http_address to see it",
    ):
        assert part in rows
    board.folders[0].asked = {"models/helpful/versions/a1": "rewards:50051"}
    assert "not seen" not in "\n".join(shown(board))


@pytest.mark.parametrize("steps", [None, True, math.inf, math.nan, 10**400, -3])
def test_numbers_that_are_none_are_shown_as_such(board: Board, steps: object) -> None:
    run = board.endpoints[0]
    bad = parse(RUN.format(step=13, ended=NOW, tokens=1, seconds=math.nan, score=math.nan, kl=math.inf))
    run.answer = Answer(bad, {"state": 7, "step": "x", "steps": steps, "seconds_since_last_step": []})
    run.run.look(bad)
    rows = shown(board)
    assert " state    7" in rows
    assert any(row.startswith(" score    nan ▁█") for row in rows)
    assert any(row.startswith(" KL       inf nats ▁█") for row in rows)


def test_what_could_not_be_measured_has_no_number(board: Board) -> None:
    """A run without a critic, none of whose workers is up."""
    run = board.endpoints[0]
    text = RUN.format(step=13, ended=NOW, tokens=1, seconds=1, score=1, kl=1)
    for name in ("plaudit_ppo_explained_variance", "plaudit_rollout_policy_version"):
        text, found = re.subn(rf"^{name} \S+$", f"{name} NaN", text, flags=re.MULTILINE)
        assert found == 1
    run.answer = Answer(parse(text), {"state": "running"})
    run.run.look(run.answer.page)
    rows = "\n".join(shown(board))
    assert "- variance explained" in rows
    assert " pool     - version" in rows


def test_an_endpoint_of_neither_kind_says_so() -> None:
    board = Board(["127.0.0.1:1"])
    board.endpoints[0].answer = Answer(Page(), {})
    assert " state    neither a run nor a reward server: it has none of their metrics" in shown(board)


def test_a_paused_run_has_no_time_left(board: Board) -> None:
    run = board.endpoints[0]
    assert any("44 min left" in row for row in shown(board))
    run.answer = Answer(run.answer.page, {**run.answer.health, "state": "paused"})
    assert not any("left" in row for row in shown(board))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "-"), (0, "0"), (0.0412, "0.041"), (-3.214, "-3.21"), (43.16, "43.2"), (1240.4, "1,240"), (7.0, "7")),
        *((2e-5, "2e-05"), (0.00098, "0.001"), (math.nan, "nan"), (-math.inf, "-inf")),
    ],
)
def test_figures_are_short(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_other_figures() -> None:
    assert [signed(value) for value in (0.5, -0.5, 0, None)] == ["+0.500", "-0.500", "0", "-"]
    assert [percent(value) for value in (0, 0.0042, 0.5, None, math.nan)] == ["0 %", "0.4 %", "50 %", "-", "-"]
    seconds = (0, 0.0123, 3.21, 45.4, 59.9, 754, 3599, 7500, 273600, None, math.inf)
    expected = ["0 s", "12.3 ms", "3.2 s", "45 s", "60 s", "13 min", "1 h 00 min", "2 h 05 min", "3 d 4 h", "-", "-"]
    assert [duration(value) for value in seconds] == expected


def test_curves() -> None:
    assert curve([0, 1, 2, 7]) == "▁▂▃█"
    assert curve([-1, None, math.nan, 1]) == "▁  █"
    assert curve([5, 10], floor=0) == "▅█"
    assert (curve([3, 3]), curve([0, 0], floor=0), curve([None]), curve([])) == ("▄▄", "▁▁", "", "")
