"""Transfer syntaxes as far as a door must know them; no decoder is imported for it."""

from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

EXPLICIT = str(ExplicitVRLittleEndian)
NEVER_SENT = frozenset({str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian)})
"""Shall not be used with web services (PS3.18, section 8.7.3.5.2)."""
UNCOMPRESSED = frozenset({EXPLICIT, *NEVER_SENT, "1.2.840.10008.1.2.1.99"})
DECODABLE = frozenset(
    {
        *UNCOMPRESSED,
        "1.2.840.10008.1.2.5",
        *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
    }
)
"""What can be had in Explicit VR Little Endian; a test holds it against the decoders."""

_NUMBERS = {
    "image/jpeg": (50, 51, 57, 70),
    "image/jls": (80, 81),
    "image/jp2": (90, 91),
    "image/jpx": (92, 93),
    "video/mpeg": (100, 101),
    "video/mp4": (102, 103, 104, 105, 106),
    "video/h265": (107, 108),
    "image/jxl": (110, 111, 112),
    "image/jphc": (201, 202, 203),
}
MEDIA_TYPES = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **{f"1.2.840.10008.1.2.4.{number}": media_type for media_type, numbers in _NUMBERS.items() for number in numbers},
}
"""Media type of compressed pixels by transfer syntax (PS3.18, tables 8.7.3-4 and 8.7.3-5)."""
