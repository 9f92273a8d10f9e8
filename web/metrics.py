"""The figures that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, process_collector

from web.store import Job, JobStore


class Metrics:
    """What /metrics answers is made from the registry."""

    def __init__(self, store: JobStore) -> None:
        self.registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=self.registry)
        self.jobs = Counter("zssr_jobs", "Jobs that ended", ["state"], registry=self.registry)
        self.seconds = Histogram(
            "zssr_job_seconds", "Seconds a job ran", buckets=(1, 3, 10, 30, 100, 300, 1000), registry=self.registry
        )
        self.requests = Histogram(
            "zssr_request_seconds", "Seconds to answer, streams left out", ["endpoint", "status"],
            buckets=(0.005, 0.02, 0.05, 0.2, 1, 5), registry=self.registry,
        )  # fmt: skip
        open_jobs = Gauge("zssr_jobs_open", "Jobs that wait or run", registry=self.registry)
        open_jobs.set_function(store.count_open)

    def job_ended(self, job: Job) -> None:
        """Count it."""
        self.jobs.labels(job.state).inc()
        if job.started is not None and job.ended is not None:
            self.seconds.observe(job.ended - job.started)
