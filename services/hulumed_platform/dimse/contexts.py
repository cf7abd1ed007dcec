"""Which presentation contexts of a proposal are taken: storage in any encoding, verification, storage commitment."""

from collections.abc import Iterable
from threading import Lock

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, register_uid
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when the module is imported
    StorageCommitmentPushModel,
    Verification,
    uid_to_service_class,
)

from hulumed_platform.dimse.peers import Permission

_STORAGE = frozenset(context.abstract_syntax for context in AllStoragePresentationContexts)
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
_SYNTAXES = frozenset(ALL_TRANSFER_SYNTAXES)
_MAX_REGISTERED = 1024
_registered: set[str] = set()  # pynetdicom's own register is the process's, too
_lock = Lock()


def supported(
    proposed: Iterable[PresentationContext], may: frozenset[Permission], *, private_classes: bool
) -> list[PresentationContext]:
    """What we support of a proposal.

    The order of a peer's transfer syntaxes is its preference, and is ours: an instance is best sent as it is. Only
    Implicit VR goes last, as it loses the type of private attributes.
    """
    syntaxes: dict[UID, list[UID]] = {}
    for context in proposed:
        if context.abstract_syntax is not None and _is_supported(context.abstract_syntax, may, private_classes):
            known = (syntax for syntax in context.transfer_syntax if syntax in _SYNTAXES)
            syntaxes.setdefault(context.abstract_syntax, []).extend(known)
    return [
        build_context(abstract, sorted(dict.fromkeys(transfer), key=ImplicitVRLittleEndian.__eq__))
        for abstract, transfer in syntaxes.items()
        if transfer
    ]


def _is_supported(abstract: UID, may: frozenset[Permission], private_classes: bool) -> bool:
    if abstract == Verification:
        return Permission.ECHO in may
    if abstract == StorageCommitmentPushModel:
        return Permission.COMMIT in may
    return Permission.STORE in may and _is_storage(abstract, private_classes)


def _is_storage(abstract: UID, private_classes: bool) -> bool:
    """Whether it is a storage class: one that pynetdicom knows, a retired or a newer one, or a private one."""
    if abstract in _STORAGE or abstract in _registered:
        return True
    if uid_to_service_class(abstract) is not ServiceClass:
        return False  # it is of another service, as some are below the same root
    if not abstract.startswith(_STORAGE_ROOT) and not (private_classes and abstract.is_private):
        return False
    return _register(abstract)


def _register(abstract: UID) -> bool:
    """Have pynetdicom serve the class as storage."""
    with _lock:
        if len(_registered) < _MAX_REGISTERED:
            register_uid(abstract, f"Storage_{abstract.replace('.', '_')}", StorageServiceClass)
            _registered.add(abstract)
    return abstract in _registered
