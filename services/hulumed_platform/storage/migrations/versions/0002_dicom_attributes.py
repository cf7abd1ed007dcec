"""What searches match and return: attributes of studies, series and instances."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_COLUMNS = {
    "studies": (
        "study_date",
        "study_time",
        "accession_number",
        "referring_physician_name",
        "study_description",
        "patient_name",
        "patient_id",
        "patient_birth_date",
        "patient_sex",
        "dicom_study_id",
    ),
    "series": (
        "series_description",
        "body_part_examined",
        "series_number",
        "performed_procedure_step_start_date",
        "performed_procedure_step_start_time",
        "scheduled_procedure_step_id",
        "requested_procedure_id",
    ),
    "instances": ("instance_number",),
}
_INDEXED = ("patient_id", "study_date", "accession_number")


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        # Rows from before have none: nothing was read of their headers.
        op.add_column(table, sa.Column("attributes", sa.JSON(), nullable=True))
        for column in columns:
            op.add_column(table, sa.Column(column, sa.Text(), nullable=True))
    for column in _INDEXED:
        op.create_index(op.f(f"ix_studies_tenant_{column}"), "studies", ["tenant", column])


def downgrade() -> None:
    for column in _INDEXED:
        op.drop_index(op.f(f"ix_studies_tenant_{column}"), "studies")
    for table, columns in _COLUMNS.items():
        for column in ("attributes", *columns):
            op.drop_column(table, column)
