"""Where the command line writes: answers to standard output, troubles to standard error."""

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_text(text: str) -> None:
    """Print text of others as it is: no markup, no wrapping; control characters cannot reach the terminal."""
    console.print(printable(text), markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """The text without control characters, which could rewrite what a terminal shows; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def counted(number: int, noun: str) -> str:
    """A number with its noun, as people say it."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def megabytes(size_bytes: float) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1e6:,.1f} MB"
