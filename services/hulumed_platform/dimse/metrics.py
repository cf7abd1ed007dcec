"""What the dimse room measures."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

ASSOCIATIONS_ACTIVE = Gauge("hulumed_dimse_associations_active", "Connections and associations that are open.")
ASSOCIATIONS = Counter(
    "hulumed_dimse_associations_total",
    "What became of associations: accepted or rejected, and those accepted released or aborted.",
    ["outcome"],
)
CONNECTIONS_REFUSED = Counter(
    "hulumed_dimse_connections_refused_total", "Connections that were closed before they said anything.", ["reason"]
)
INSTANCES = Counter(
    "hulumed_dimse_instances_total", "Instances that were answered, by the status of C-STORE.", ["status"]
)
BYTES = Counter("hulumed_dimse_bytes_total", "Bytes of the instances that were stored.")
STORE_SECONDS = Histogram(
    "hulumed_dimse_store_seconds", "Seconds from the last byte of an instance to its answer.", buckets=_SECONDS
)
DISK_USED = Gauge("hulumed_dimse_disk_used_ratio", "Used part of the fullest disk that instances go to.")
COMMITMENTS = Counter("hulumed_dimse_commitments_total", "Storage commitments, by what became of them.", ["outcome"])
