"""Ask a reward server for scores.

    from plaudit_client import RewardClient, ScoreItem, TextPair

    with RewardClient("localhost:50051") as client:
        client.wait_until_ready(timeout=60)
        for result in client.score([ScoreItem(TextPair("How long is delivery?", "Two days."))]):
            print(result)  # a Score, or a ScoreFailure that says why there is none

`AsyncRewardClient` is the same for asyncio, `plaudit_client.errors` what calls raise, and `plaudit_client.fake` a
reward server for tests.
"""

from plaudit_client import errors
from plaudit_client.client import AsyncRewardClient, RewardClient
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
from plaudit_client.retry import RetryCounts, RetryPolicy
from plaudit_client.types import (
    Conversation,
    FinishReason,
    Message,
    ModelInfo,
    ModelLimits,
    Provenance,
    Score,
    ScoreFailure,
    ScoreItem,
    TextPair,
    TokenPair,
    Truncation,
)

__all__ = [
    "AsyncRewardClient",
    "ClientClosed",
    "Conversation",
    "DeadlineExceeded",
    "FinishReason",
    "InvalidRequest",
    "Message",
    "ModelInfo",
    "ModelLimits",
    "ModelNotFound",
    "Overloaded",
    "Provenance",
    "QuotaExceeded",
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
    "TokenPair",
    "Truncation",
    "Unauthenticated",
    "errors",
]
