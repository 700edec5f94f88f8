"""Ask a reward server for scores.

    from plaudit_client import RewardClient, ScoreItem, TextPair

    with RewardClient("localhost:50051") as client:
        client.wait_until_ready(timeout=60)
        for result in client.score([ScoreItem(TextPair("How long is delivery?", "Two days."))]):
            print(result)  # a Score, or a ScoreFailure that says why there is none

`AsyncRewardClient` is the same for asyncio. Beside them, each to be imported by its name:

    plaudit_client.errors                 what calls raise
    plaudit_client.fake                   a reward server for tests
    plaudit_client.admin                  ModelAdmin: loads, names and unloads what a reward server serves
    plaudit_client.trainer                TrainerClient: watches and controls a training run
    plaudit_client.trl, .verl, .openrlhf  reward functions for those trainers
"""

from plaudit_client import errors
from plaudit_client.aio import AsyncRewardClient
from plaudit_client.client import RewardClient
from plaudit_client.credentials import Tls
from plaudit_client.errors import (
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExceeded,
    RequestTooLarge,
    RewardError,
    ServerFault,
    ServerUnavailable,
    Unauthenticated,
)
from plaudit_client.retry import PATIENT, RetryCounts, RetryPolicy
from plaudit_client.types import (
    Candidate,
    Conversation,
    Drift,
    EnsembleScore,
    FinishReason,
    MemberScore,
    Message,
    ModelInfo,
    ModelLimits,
    Provenance,
    Ranked,
    Ranking,
    Score,
    ScoreFailure,
    ScoreItem,
    TextPair,
    TokenPair,
    TokenScore,
    TokenScores,
    Truncation,
    Unranked,
)

__all__ = [
    "PATIENT",
    "AsyncRewardClient",
    "Candidate",
    "ClientClosed",
    "Conversation",
    "DeadlineExceeded",
    "Drift",
    "EnsembleScore",
    "FinishReason",
    "InvalidRequest",
    "MemberScore",
    "Message",
    "ModelInfo",
    "ModelLimits",
    "ModelNotFound",
    "Overloaded",
    "Provenance",
    "QuotaExceeded",
    "Ranked",
    "Ranking",
    "RequestTooLarge",
    "RetryCounts",
    "RetryPolicy",
    "RewardClient",
    "RewardError",
    "Score",
    "ScoreFailure",
    "ScoreItem",
    "ServerFault",
    "ServerUnavailable",
    "TextPair",
    "Tls",
    "TokenPair",
    "TokenScore",
    "TokenScores",
    "Truncation",
    "Unauthenticated",
    "Unranked",
    "errors",
]
