"""Associations that we ask for: to peers that take reports of storage commitment."""

import logging
import ssl
from typing import TypeVar

from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made when imported
from pynetdicom.transport import AddressInformation

from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.dimse import IMPLEMENTATION_UID
from hulumed_platform.dimse.peers import Peers
from hulumed_platform.dimse.settings import DimseSettings
from hulumed_platform.dimse.sockets import ClosingSocket

log = logging.getLogger(__name__)

EntityT = TypeVar("EntityT", bound=AE)


def configure(ae: EntityT, settings: DimseSettings) -> EntityT:
    """Give an application entity its limits and time-outs."""
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = f"HULUMED_{PLATFORM_VERSION}"[:16]
    ae.maximum_associations = settings.max_associations
    ae.maximum_pdu_size = settings.max_pdu_bytes
    ae.acse_timeout = settings.acse_timeout_s
    ae.connection_timeout = settings.acse_timeout_s
    ae.dimse_timeout = settings.dimse_timeout_s
    ae.network_timeout = settings.network_timeout_s
    return ae


class DiallingEntity(AE):
    """An application entity that opens associations."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> ClosingSocket:
        made = ClosingSocket(assoc, address=address)
        made.tls_args = tls_args
        return made


class Dialler:
    """Opens associations by the addresses of the peers file.

    Args:
        ae: our application entity; not the one that listens, whose associations are counted.
        peers: where they are.
        tls: what connections to peers that listen by TLS are wrapped in; None where there is no such peer.
    """

    def __init__(self, ae: AE, peers: Peers, tls: ssl.SSLContext | None) -> None:
        self._ae = ae
        self._peers = peers
        self._tls = tls
        ae.add_requested_context(StorageCommitmentPushModel)

    def knows(self, peer: str) -> bool:
        """Whether it is known where the peer takes reports."""
        return self._peers.report_address(peer) is not None

    def __call__(self, peer: str) -> Association | None:
        """Open an association on which we are the provider (PS3.7, section D.3.3.4); None where it cannot be had."""
        address = self._peers.report_address(peer)
        assert address is not None, "asked by `knows` first"
        try:
            association = self._ae.associate(
                address.host,
                address.port,
                ae_title=peer,
                ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
                tls_args=(self._tls, address.host) if address.tls and self._tls is not None else None,
            )
        except OSError as error:  # its name cannot be resolved
            log.warning("peer not reached: %s", type(error).__name__, extra={"ae_title": peer})
            return None
        if not association.is_established:
            log.warning("peer not reached", extra={"ae_title": peer})
            return None
        return association
