"""What was once computed of instances for whoever asks for their metadata."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hulumed_platform.storage.inserts import insert_or_ignore
from hulumed_platform.storage.models import InstanceMetadata


class Metadata:
    """Metadata of instances by their ids, in a transaction of the caller. An instance never changes, nor do they."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, instance_ids: Sequence[str]) -> dict[str, bytes]:
        """The content of those that have one."""
        rows = self._session.execute(
            select(InstanceMetadata.instance_id, InstanceMetadata.content).where(
                InstanceMetadata.instance_id.in_(instance_ids)
            )
        )
        return {row[0]: row[1] for row in rows}

    def keep(self, contents: Mapping[str, bytes]) -> None:
        """Remember the content of instances; one that is there already stays."""
        for instance_id, content in contents.items():
            insert_or_ignore(self._session, InstanceMetadata, instance_id=instance_id, content=content)
