"""What an answer's provenance says, as tables: tokens before and after compression, stages, planes."""

from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hulumed_platform.cli.console import console, counted, megabytes, printable

_INDENT = 2


def print_answer(text: str, provenance: dict[str, Any]) -> None:
    """Print an answer with its label, then where it comes from."""
    console.print(Padding(Text(printable(text)), (0, 0, 1, _INDENT), expand=False))
    print_facts(provenance)


def label(provenance: dict[str, Any]) -> str:
    """What to call the model beside its answer, as markup."""
    name = provenance["model_label"]
    if provenance["model_trained"]:
        return f"model {name}"
    return f"[bold yellow]{name}: random weights, the text means nothing[/bold yellow]"


def print_facts(provenance: dict[str, Any]) -> None:
    """Print what an answer was made of and how long each stage took."""
    for block in (_items(provenance), _tokens(provenance["usage"]), _stages(provenance["stages"]), _times(provenance)):
        console.print(Padding(block, (0, 0, 0, _INDENT), expand=False))


def _tokens(usage: dict[str, Any]) -> str:
    before, after = usage["visual_tokens_before"], usage["visual_tokens_after"]
    share = f" ({after / before:.0%} kept)" if before else ""
    prompt, answer = usage["prompt_tokens"], usage["completion_tokens"]
    return f"visual tokens {before:,} → {after:,}{share}, prompt {prompt:,}, answer {answer:,}"


def _items(provenance: dict[str, Any]) -> Text:
    """One line an item, then what was left out, dropped or assumed."""
    lines = []
    for item in provenance["items"]:
        lines.append(f"{item['description']}: {counted(len(item['planes']), 'plane')}")
        lines += [f"  note: {note['text']}" for note in item["notes"]]
    lines += [f"left out: {left['count']} x {left['what']}, {left['reason']}" for left in provenance["left_out"]]
    return Text(printable("\n".join(lines)), style="dim")


def _stages(stages: list[dict[str, Any]]) -> Table:
    """Stages work at the same time, so their seconds add up to more than the whole."""
    table = Table("stage", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("planes", "rows in", "rows out", "sent", "work", "waiting", "in all"):
        table.add_column(name, justify="right")
    for stage in stages:
        counts = (f"{stage[name]:,}" for name in ("planes", "rows_in", "rows_out"))
        seconds = (f"{stage[name]:.2f} s" for name in ("busy_s", "wait_s", "wall_s"))
        table.add_row(stage["stage"], *counts, megabytes(stage["bytes_out"]), *seconds)
    return table


def _times(provenance: dict[str, Any]) -> str:
    return f"first token after {provenance['first_token_s']:.2f} s, the last after {provenance['total_s']:.2f} s"
