"""`python -m hulumed_platform.cli` is `hulumed`."""

from hulumed_platform.cli.main import app

app(prog_name="hulumed")
