"""What the command line says when it cannot do what was asked."""


class CliError(Exception):
    """A message for the person at the terminal: what is wrong, where, and how to mend it."""
