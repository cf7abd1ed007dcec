"""Who waits for the answer of a call, as its servicer sees them: how long yet, and whether at all."""

import threading
from collections.abc import Callable

import grpc

_MARGIN_S = 0.02
"""The stage before gets this much less time, so that its own report of a timeout comes before ours."""


class Caller:
    """The caller of one running call.

    A servicer that is blocked on the stage before does not notice that its caller left: what it waits for is cancelled
    through `on_leave`, which gRPC runs on a thread of its own.
    """

    def __init__(self, context: grpc.ServicerContext, longest_s: float) -> None:
        self._context = context
        self._longest_s = longest_s
        self.gone = threading.Event()
        """Set once the call is over: cancelled, out of time, or answered."""
        self.on_leave(self.gone.set)

    def remaining_s(self) -> float:
        """Seconds that may be given to the stage before."""
        remaining_s = self._context.time_remaining()
        allowed_s = self._longest_s if remaining_s is None else min(remaining_s, self._longest_s)
        return max(allowed_s - _MARGIN_S, 0.001)

    def on_leave(self, action: Callable[[], object]) -> None:
        """Run `action` when the call is over; at once if it is over already."""

        def leave() -> None:
            action()

        if not self._context.add_callback(leave):
            leave()
