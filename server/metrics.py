"""The server's metrics for Prometheus. Each app has a registry of its own, so tests share none."""

import asyncio

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from server.protocol.server_events import MetricsTick

TICK_BUCKETS_S = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.3, 0.5, 1.0, 2.0)
LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.1, 0.5)


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        ProcessCollector(registry=r)  # memory, processor time and open files of this process
        self.tasks = Gauge("avatar_tasks", "Tasks of the event loop", registry=r)
        self.tasks.set_function(lambda: len(asyncio.all_tasks()))
        self.sessions = Gauge("avatar_sessions", "Sessions that live now", registry=r)
        self.queued = Gauge("avatar_sessions_queued", "Clients that wait for a session", registry=r)
        self.opened = Counter("avatar_sessions_opened", "Sessions opened", registry=r)
        self.refused = Counter(
            "avatar_sessions_refused", "Sessions refused", ["reason"], registry=r
        )
        self.errors = Counter("avatar_errors", "Error events sent, by code", ["code"], registry=r)
        self.audio_bytes = Counter("avatar_audio_bytes", "Bytes of speech received", registry=r)
        self.interruptions = Counter("avatar_interruptions", "Interruptions", registry=r)
        self.events_dropped = Counter(
            "avatar_events_dropped", "Events that a slow client did not get", registry=r
        )
        self.clock_resyncs = Counter(
            "avatar_clock_resyncs", "Media clocks that fell a second behind", registry=r
        )
        self.model_queue = Gauge(
            "avatar_model_queue", "Jobs that wait for the model thread", registry=r
        )
        self.slices = Counter(
            "avatar_slices",
            "Slices sent: new frames, and repeats while the model is late",
            ["kind"],
            registry=r,
        )
        self.pictures_left_out = Counter(
            "avatar_pictures_left_out", "Pictures not sent, as a network was too weak", registry=r
        )
        self.key_frames = Counter(
            "avatar_key_frames", "Key frames sent because a client asked", registry=r
        )
        self.retransmissions = Counter(
            "avatar_retransmissions",
            "Packets sent again, and requests over the budget for it",
            ["result"],
            registry=r,
        )
        self.reports_dropped = Counter(
            "avatar_rtcp_dropped", "RTCP packets that were too many or malformed", registry=r
        )
        self.rtf = Gauge(
            "avatar_rtf", "Compute time over media time of the latest tick", registry=r
        )
        self.stages = Histogram(
            "avatar_tick_stage_seconds",
            "Stages of one tick",
            ["stage"],
            buckets=TICK_BUCKETS_S,
            registry=r,
        )
        self.loop_lag = Histogram(
            "avatar_loop_lag_seconds", "How late slices leave", buckets=LAG_BUCKETS_S, registry=r
        )

    def observe_tick(self, tick: MetricsTick) -> None:
        self.rtf.set(tick.rtf)
        for stage, ms in tick.stages.items():
            self.stages.labels(stage=stage).observe(ms / 1000)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
