"""The metrics that several rooms have. Labels are few and never hold an id or patient data."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

REQUESTS = Counter("hulumed_requests_total", "Requests that ended, by method and outcome.", ["method", "code"])
REQUEST_SECONDS = Histogram(
    "hulumed_request_seconds", "Seconds from a request's arrival to its end.", ["method"], buckets=_SECONDS
)
ACTIVE = Gauge("hulumed_requests_active", "Requests at work.")
WAITING = Gauge("hulumed_requests_waiting", "Requests that wait for their turn.")
PLANES_AHEAD = Gauge("hulumed_planes_ahead", "Planes that were fetched and wait for their turn in this stage.")
PATCHES_QUEUED = Gauge("hulumed_patches_queued", "Patches that wait for a place in a batch of the encoder.")
PLANES = Counter("hulumed_planes_total", "Planes that left the stage.")
ROWS_IN = Counter("hulumed_rows_in_total", "Rows (patches or tokens) that entered the stage.")
ROWS_OUT = Counter("hulumed_rows_out_total", "Rows (patches or tokens) that left the stage.")
BYTES_OUT = Counter("hulumed_tensor_bytes_out_total", "Bytes of tensors that left the stage.")
STAGE_SECONDS = Histogram(
    "hulumed_stage_seconds",
    "Seconds of one request in this stage: own work (busy) and waiting for the stage before (wait).",
    ["part"],
    buckets=_SECONDS,
)
READY = Gauge("hulumed_ready", "1 once the weights are in and one warm forward is done.")
PERIODIC_FAILURES = Counter(
    "hulumed_periodic_failures_total", "Rounds that failed, of what is done again and again.", ["name"]
)
