"""Draft the migration that leads from the last one to the models, for a person to read and mend."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import URL

from hulumed_platform.storage import schema
from hulumed_platform.storage.database import Database


def draft(message: str) -> None:
    """Write `versions/<number>_<message>.py` by comparing an empty, migrated SQLite database with the models."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(URL.create("sqlite", database=str(Path(folder) / "draft.sqlite")))
        database.migrate()
        with database.session() as session:
            config = schema.alembic_config(session.connection())
            number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
            command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")
        database.close()


if __name__ == "__main__":
    draft(" ".join(sys.argv[1:]) or "change the schema")
