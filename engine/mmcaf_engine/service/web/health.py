"""Whether the service lives and is ready, and its figures for Prometheus."""

import time
from typing import Any

from fastapi import APIRouter, Response

from .. import views
from ..compare import comparisons
from ..life import missing
from .context import Context

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def router(context: Context) -> APIRouter:
    """The routes of a service; open to everyone who reaches them, as they say nothing of a patient."""
    routes = APIRouter()

    @routes.get("/health/live", summary="The web process answers")
    def live() -> dict[str, str]:
        return {"status": "live"}

    @routes.get("/health/ready", summary="Every process runs, and every bundle passed its self-test")
    def ready(response: Response) -> dict[str, Any]:
        lacking = not_ready(context)
        if lacking:
            response.status_code = 503
        return {"status": "not ready" if lacking else "ready", "missing": lacking}

    @routes.get("/metrics", summary="For Prometheus")
    def metrics() -> Response:
        return Response(figures(context), media_type=TEXT)

    return routes


def not_ready(context: Context) -> list[str]:
    """Processes that are expected and do not run."""
    with context.memory() as memory:
        return missing(memory, context.config, time.time())


def figures(context: Context) -> str:
    """Gauges of the queue, of deliveries, of the disk, and histograms of how long stages took."""
    import shutil

    from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

    registry = CollectorRegistry()
    states = Gauge("mmcaf_answers", "Answers in each state.", ["state"], registry=registry)
    failures = Gauge(
        "mmcaf_refused", "Answers that were refused or failed, by exit code.", ["exit_code"], registry=registry
    )
    deliveries = Gauge("mmcaf_deliveries", "Deliveries in each state.", ["destination", "state"], registry=registry)
    coming = Gauge("mmcaf_studies_received", "Studies that are not whole yet.", registry=registry)
    free = Gauge("mmcaf_spool_free_bytes", "Free on the spool's disk.", registry=registry)
    up = Gauge("mmcaf_process_ready", "Whether a process is ready.", ["role"], registry=registry)
    compared = Gauge(
        "mmcaf_compared",
        "Studies that a bundle and its shadow answered, by whether their labels agree.",
        ["bundle", "shadow", "agree"],
        registry=registry,
    )
    stages = Histogram(
        "mmcaf_stage_seconds",
        "From one state of an answer to the next.",
        ["stage"],
        buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200),
        registry=registry,
    )
    with context.memory() as memory:
        for state, number in views.counts(memory).items():
            states.labels(state).set(number)
        for row in memory.execute(
            "select exit_code, count(*) as number from answer where state in ('refused', 'failed') group by exit_code"
        ):
            failures.labels(str(row["exit_code"])).set(row["number"])
        for row in memory.execute("select destination, state, count(*) as number from delivery group by 1, 2"):
            deliveries.labels(row["destination"], row["state"]).set(row["number"])
        coming.set(memory.execute("select count(*) from study where state = 'received'").fetchone()[0])
        for one in views.processes(memory):
            up.labels(one.role).set(one.ready)
        for stage, seconds in views.stage_times(memory):
            stages.labels(stage).observe(seconds)
        for pair in comparisons(memory, context.config, listed=0):
            compared.labels(pair.bundle, pair.shadow, "yes").set(pair.agreeing)
            compared.labels(pair.bundle, pair.shadow, "no").set(pair.compared - pair.agreeing)
    free.set(shutil.disk_usage(context.config.spool).free)
    return generate_latest(registry).decode()
