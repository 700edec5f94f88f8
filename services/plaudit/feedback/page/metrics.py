"""The labelling service's metrics, on a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from plaudit.feedback.tasks import Kind

SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """All of them. Nothing that anybody typed becomes a label."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.judgements = Counter(
            "plaudit_label_judgements_total", "What people judged here, by kind of task.", ["kind"], registry=registry
        )
        self.seconds = Histogram(
            "plaudit_label_judgement_seconds",
            "From when a task was shown to when it was judged.",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self.skipped = Counter("plaudit_label_skipped_total", "Tasks that somebody skipped.", registry=registry)
        self.undone = Counter("plaudit_label_undone_total", "What somebody took back.", registry=registry)
        self.responses = Counter(
            "plaudit_label_responses_total", "What browsers were answered, by code.", ["code"], registry=registry
        )
        self.waiting = Gauge("plaudit_label_waiting_judgements", "That tasks want and nobody is at.", registry=registry)
        self.open = Gauge("plaudit_label_open_assignments", "Tasks that somebody is at.", registry=registry)
        self.database_up = Gauge("plaudit_label_database_up", "1: the database answers.", registry=registry)
        for kind in Kind:
            self.judgements.labels(kind)
        for code in (200, 500, 503):
            self.responses.labels(code)

    def judged(self, kind: Kind, seconds: float) -> None:
        """Somebody judged."""
        self.judgements.labels(kind).inc()
        self.seconds.labels(kind).observe(seconds)

    def answered(self, code: int) -> None:
        """A browser was."""
        self.responses.labels(code).inc()
