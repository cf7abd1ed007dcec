"""`python -m hulumed_platform.storage.upgrade`: brings the database up to this version's schema before the rooms start.

Rooms change no schema: of many that start at once, of two versions, none could know that the others are ready for it.
"""

import sys
from contextlib import closing

from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.settings import SettingsError
from hulumed_platform.storage.settings import DatabaseSettings, open_database


class UpgradeSettings(DatabaseSettings):
    """Which database: `HULUMED_STORAGE_DATABASE_URL` and `HULUMED_STORAGE_DATABASE_PASSWORD_FILE`."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_STORAGE_")


def main() -> None:
    """Upgrade if there is anything to do; exits with 2 where the settings are wrong, with 1 where it cannot be done."""
    try:
        with closing(open_database(UpgradeSettings.from_environment())) as database:
            database.migrate()
    except (SettingsError, PlatformError) as error:
        print(f"storage: {error}", file=sys.stderr)  # noqa: T201 - the last word of a process
        sys.exit(2 if isinstance(error, SettingsError) else 1)


if __name__ == "__main__":
    main()
