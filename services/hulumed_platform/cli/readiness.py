"""Is a room ready? Asked the way an orchestrator asks it."""

from hulumed_platform.cli.plan import Probe

_TIMEOUT_S = 2.0


def grpc_health(address: str) -> Probe:
    """A probe by the standard gRPC health service at `host:port`."""

    def probe() -> bool:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        with grpc.insecure_channel(address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # not in the stubs
            try:
                reply = check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
            except grpc.RpcError:
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def http_ready(url: str) -> Probe:
    """A probe by a GET that answers 200."""

    def probe() -> bool:
        import httpx

        try:
            return httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    return probe
