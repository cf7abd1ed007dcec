"""The room that speaks DICOM's own protocol: C-STORE, C-ECHO and storage commitment."""

from typing import Final

from pydicom.uid import UID

IMPLEMENTATION_UID: Final = UID("2.25.147891986274430413430552658803168481148")
"""Our Implementation Class UID (PS3.7, section D.3.3.2). It stands in stored files: never change it."""
IMPLEMENTATION_VERSION_NAME: Final = "HULUMED"
"""Without a version, so that an instance that is sent again later is byte for byte the one that is stored."""
