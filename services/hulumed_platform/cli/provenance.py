"""What an answer's provenance says, as tables: tokens before and after compression, stages, planes."""

from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hulumed_platform.cli.console import console, megabytes, printable

_INDENT = 2


def print_answer(text: str, provenance: dict[str, Any]) -> None:
    """Print an answer with its label, then where it comes from."""
    console.print(Padding(Text(printable(text)), (0, 0, 1, _INDENT)))
    print_facts(provenance)


def label(provenance: dict[str, Any]) -> str:
    """What to call the model beside its answer, as markup."""
    name = provenance.get("model_label", "")
    if provenance.get("model_trained"):
        return f"model {name}"
    return f"[black on yellow] {name}: random weights, the text means nothing [/]"


def print_facts(provenance: dict[str, Any]) -> None:
    """Print what an answer was made of and how long each stage took."""
    for block in (_tokens(provenance["usage"]), _items(provenance), _stages(provenance)):
        console.print(Padding(block, (0, 0, 0, _INDENT)))


def _tokens(usage: dict[str, Any]) -> str:
    before, after = int(usage.get("visual_tokens_before", 0)), int(usage.get("visual_tokens_after", 0))
    share = f" ({after / before:.0%} kept)" if before else ""
    prompt, answer = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    return f"visual tokens {before:,} → {after:,}{share}, prompt {prompt:,}, answer {answer:,}"


def _items(provenance: dict[str, Any]) -> Text:
    """One line an item, then what was left out, dropped or assumed."""
    lines = []
    for item in provenance.get("items", []):
        lines.append(f"{item['description']}: {len(item['planes'])} planes")
        lines += [f"  note: {note['text']}" for note in item.get("notes", [])]
    lines += [
        f"left out: {left['count']} x {left['what']}, {left['reason']}" for left in provenance.get("left_out", [])
    ]
    return Text(printable("\n".join(lines)), style="dim")


def _stages(provenance: dict[str, Any]) -> Table:
    """Stages work at the same time, so their seconds add up to more than the whole."""
    table = Table("stage", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("planes", "rows in", "rows out", "sent", "work", "waiting", "in all"):
        table.add_column(name, justify="right")
    for stage in provenance.get("stages", []):
        counts = (f"{int(stage.get(name, 0)):,}" for name in ("planes", "rows_in", "rows_out"))
        seconds = (f"{stage.get(name, 0.0):.2f} s" for name in ("busy_s", "wait_s", "wall_s"))
        table.add_row(stage["stage"], *counts, megabytes(int(stage.get("bytes_out", 0))), *seconds)
    whole = f"{provenance.get('total_s', 0.0):.2f} s"
    table.add_row("answer", *[""] * 4, f"first token {provenance.get('first_token_s', 0.0):.2f} s", "", whole)
    return table
