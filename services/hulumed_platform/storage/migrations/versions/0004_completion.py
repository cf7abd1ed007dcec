"""When a study is complete, and by which rule: times of series, the next look, and what was decided."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_OF_STUDIES = ("opened_at", "look_at", "ended_by", "completion", "rule", "rules_digest", "priority")
_OF_SERIES = ("last_received_at", "num_instances", "door", "calling_ae_title")
_EPOCH = "1970-01-01 00:00:00+00:00"


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    # Defaults make the columns ones that SQLite adds without copying a table that others refer to.
    _add("studies", "opened_at", time, server_default=_EPOCH)
    _add("studies", "priority", sa.BigInteger(), server_default="0")
    _add("series", "last_received_at", time, server_default=_EPOCH)
    _add("series", "num_instances", sa.BigInteger(), server_default="0")
    _add("studies", "look_at", time)
    _add("studies", "ended_by", sa.Text())
    _add("studies", "completion", sa.JSON())
    _add("studies", "rule", sa.JSON())
    _add("studies", "rules_digest", sa.String(length=71))
    _add("series", "door", sa.String(length=16))
    _add("series", "calling_ae_title", sa.String(length=16))

    # An open study is looked at at once, and its times are those of its instances.
    op.execute("UPDATE studies SET opened_at = last_received_at, look_at = last_received_at")
    # A series is registered together with its first instance, so none is without.
    op.execute(
        "UPDATE series SET"
        " last_received_at = (SELECT max(received_at) FROM instances WHERE instances.series_id = series.id),"
        " num_instances = (SELECT count(*) FROM instances WHERE instances.series_id = series.id)"
    )
    op.drop_index(op.f("ix_studies_state_last_received_at"), "studies")
    op.create_index(op.f("ix_studies_state_look_at"), "studies", ["state", "look_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_studies_state_look_at"), "studies")
    op.create_index(op.f("ix_studies_state_last_received_at"), "studies", ["state", "last_received_at"])
    # The schema before knows neither state.
    op.execute("UPDATE studies SET state = 'reported' WHERE state IN ('unmatched', 'prior')")
    for table, columns in (("studies", _OF_STUDIES), ("series", _OF_SERIES)):
        for column in columns:
            op.drop_column(table, column)


def _add(table: str, name: str, kind: sa.types.TypeEngine[Any], *, server_default: str | None = None) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=server_default is None, server_default=server_default))
