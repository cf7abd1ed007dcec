"""The report of a study: waited for, and shown."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hulumed_platform.cli.console import console
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.provenance import label, print_answer

if TYPE_CHECKING:
    from hulumed_platform.cli.gateway import Gateway

_POLL_S = 0.5


def wait_for_report(gateway: "Gateway", study: str, *, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Wait until a study has its report, showing the state it is in; `meanwhile` is called twice a second.

    Raises:
        CliError: The platform gave the study up.
    """
    with console.status("") as spinner:
        while (found := gateway.get(f"/studies/{study}"))["state"] != "reported":
            if found["state"] == "failed" and found.get("next_retry_at") is None:
                raise CliError(f"study {study} failed: {found.get('state_reason')}")
            spinner.update(f"{found['state']}: study {study}")
            meanwhile()
            time.sleep(_POLL_S)
    report: dict[str, Any] = gateway.get(f"/studies/{study}/reports/latest")
    return report


def print_report(title: str, report: dict[str, Any]) -> None:
    """Print a report under a title, with its tokens and stages."""
    provenance = report["provenance"]
    written = datetime.fromisoformat(report["created_at"]).astimezone()
    console.print(
        f"\n[bold]{title}[/bold]  {label(provenance)}  [dim]written {written:%Y-%m-%d %H:%M}[/dim]", soft_wrap=True
    )
    print_answer(report["text"], provenance)
