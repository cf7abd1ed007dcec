"""Databases of both kinds, as the tests of storage have them."""

from tests.storage.conftest import database, database_url

__all__ = ["database", "database_url"]
