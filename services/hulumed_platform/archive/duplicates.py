"""Whether an instance that is stored already comes again: gateways between change the file meta and nothing else."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import BinaryIO

from sqlalchemy import select

from hulumed_platform.archive.header import data_set_start
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Instance
from hulumed_platform.storage.objects import CHUNK_BYTES, ObjectStore
from hulumed_platform.storage.records import InstanceRecord

_MAX_META_BYTES = 256 * 1024
"""Preamble and file meta information have some hundred bytes, with a private block perhaps some thousand."""


def same_data_set(objects: ObjectStore, database: Database, record: InstanceRecord) -> bool:
    """Whether the stored instance of this SOP Instance UID has the same data set, byte for byte, in the same encoding.

    Args:
        objects: holds the bytes of both.
        database: knows the stored one.
        record: of the one that came, with other bytes.
    """
    with database.reading() as session:
        digest = session.scalar(
            select(Instance.digest).where(
                Instance.tenant == record.tenant,
                Instance.sop_instance_uid == record.sop_instance_uid,
                Instance.transfer_syntax_uid == record.transfer_syntax_uid,
            )
        )
    if digest is None:
        return False
    with objects.open(record.tenant, digest) as stored, objects.open(record.tenant, record.digest) as came:
        return all(one == other for one, other in zip_longest(_data_set(stored), _data_set(came)))


def _data_set(file: BinaryIO) -> Iterator[bytes]:
    """The bytes behind the file meta information, in steps of equal length. The file need not be seekable."""
    head = file.read(_MAX_META_BYTES)
    pending = head[data_set_start(head) :]
    while piece := file.read(CHUNK_BYTES):
        pending += piece
        while len(pending) >= CHUNK_BYTES:
            yield pending[:CHUNK_BYTES]
            pending = pending[CHUNK_BYTES:]
    yield pending
