"""Peers by what a rules file says of them."""

from hulumed_platform.archive.peers.dicomweb import DicomwebArchive
from hulumed_platform.archive.peers.dimse import DimseArchive
from hulumed_platform.archive.peers.peer import Peer
from hulumed_platform.archive.rules.schema import Peer as PeerSettings


def open_peer(settings: PeerSettings) -> Peer:
    """A peer; it is spoken to when it is first asked.

    Raises:
        SettingsError: Its token cannot be read.
    """
    if settings.dimse is not None:
        return DimseArchive(settings.dimse)
    assert settings.dicomweb is not None, "a peer has one of the two"
    return DicomwebArchive(settings.dicomweb)
