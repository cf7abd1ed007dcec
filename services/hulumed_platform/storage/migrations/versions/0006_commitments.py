"""Storage commitments that DIMSE peers asked for and have no report of yet."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "pending_commitments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("peer", sa.String(length=16), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("references", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_commitments")),
        sa.UniqueConstraint(
            "tenant", "peer", "transaction_uid", name=op.f("uq_pending_commitments_tenant_peer_transaction_uid")
        ),
    )
    op.create_index(
        op.f("ix_pending_commitments_tenant_next_attempt_at"), "pending_commitments", ["tenant", "next_attempt_at"]
    )


def downgrade() -> None:
    op.drop_table("pending_commitments")
