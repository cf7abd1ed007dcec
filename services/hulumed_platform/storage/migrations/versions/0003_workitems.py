"""The worklist: workitems, what finds them, who is told of them; and answers of storage commitment."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "workitems",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "SCHEDULED",
                "IN PROGRESS",
                "COMPLETED",
                "CANCELED",
                name="workitemstate",
                native_enum=False,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("transaction_uid", sa.String(length=64), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workitems")),
        sa.UniqueConstraint("tenant", "sop_instance_uid", name=op.f("uq_workitems_tenant_sop_instance_uid")),
    )
    op.create_index(op.f("ix_workitems_tenant_created_at"), "workitems", ["tenant", "created_at"])

    op.create_table(
        "workitem_keys",
        sa.Column("workitem_id", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("item", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["workitem_id"], ["workitems.id"], name=op.f("fk_workitem_keys_workitem_id")),
        sa.PrimaryKeyConstraint("workitem_id", "path", "item", "value", name=op.f("pk_workitem_keys")),
    )
    op.create_index(op.f("ix_workitem_keys_path_value"), "workitem_keys", ["path", "value"])

    op.create_table(
        "workitem_subscriptions",
        sa.Column("workitem_id", sa.String(length=64), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("deletion_lock", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["workitem_id"], ["workitems.id"], name=op.f("fk_workitem_subscriptions_workitem_id")),
        sa.PrimaryKeyConstraint("workitem_id", "ae_title", name=op.f("pk_workitem_subscriptions")),
    )
    op.create_table(
        "worklist_subscriptions",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("filtered", sa.Boolean(), nullable=False),
        sa.Column("filter", sa.JSON(), nullable=False),
        sa.Column("deletion_lock", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "ae_title", "filtered", name=op.f("pk_worklist_subscriptions")),
    )
    op.create_table(
        "workitem_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workitem_events")),
    )
    op.create_index(op.f("ix_workitem_events_tenant_ae_title_id"), "workitem_events", ["tenant", "ae_title", "id"])
    op.create_index(op.f("ix_workitem_events_created_at"), "workitem_events", ["created_at"])

    op.create_table(
        "commitment_requests",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "transaction_uid", name=op.f("pk_commitment_requests")),
    )
    op.create_index(op.f("ix_commitment_requests_created_at"), "commitment_requests", ["created_at"])


def downgrade() -> None:
    for table in (
        "commitment_requests",
        "workitem_events",
        "worklist_subscriptions",
        "workitem_subscriptions",
        "workitem_keys",
        "workitems",
    ):
        op.drop_table(table)
