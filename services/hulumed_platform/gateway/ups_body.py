"""Data sets in requests: DICOM JSON (PS3.18, annex F), read within bounds and value by value.

What is wrong is told by the attribute's name; values are left out, they may be a patient's.
"""

import json
import re
from typing import Annotated, Any, NoReturn

from anyio import to_thread
from fastapi import Depends, Request
from pydicom import Dataset
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.valuerep import STANDARD_VR, VR, validate_value

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.bodies import limited_body
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.ups_refusal import RefusedError
from hulumed_platform.imaging.silence import silence

DICOM_JSON = "application/dicom+json"
MAX_BODY_BYTES = 4 * 1024 * 1024
"""A workitem has some kilobytes; this holds a commitment request for some ten thousand instances."""
_MAX_DEPTH = 16
"""Sequences inside sequences; the workitem module needs four."""
_JSON_TYPES = (DICOM_JSON, "application/json")
_TAG = re.compile(r"[0-9A-F]{8}")
_UID = re.compile(r"[0-9.]{0,64}")
_VALUE_KEYS = ("Value", "BulkDataURI", "InlineBinary")
_NUMBER_VRS = {VR.DS, VR.IS}
_TEXT_VRS = {VR.LO, VR.LT, VR.SH, VR.ST, VR.UC, VR.UR, VR.UT}

Attributes = dict[str, Any]
"""A data set in the DICOM JSON model: tag in eight upper-case digits → {"vr": …, "Value": […]}."""


async def required_body(request: Request, door: Annotated[Door, Depends(door)]) -> Attributes:
    """The one data set of the body.

    Raises:
        PlatformError: UNSUPPORTED for another type than DICOM JSON, TOO_LARGE, INVALID_INPUT for what is none.
    """
    body = await optional_body(request, door)
    if body is None:
        raise _malformed("it is empty; send one data set")
    return body


async def optional_body(request: Request, door: Annotated[Door, Depends(door)]) -> Attributes | None:
    """As `required_body`, and None where there is no body."""
    pieces = limited_body(request, MAX_BODY_BYTES, idle_timeout_s=door.settings.body_idle_timeout_s)
    data = b"".join([piece async for piece in pieces])
    if not data:
        return None
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in _JSON_TYPES:
        raise PlatformError(ErrorCode.UNSUPPORTED, f"send the data set as {DICOM_JSON}")
    return await to_thread.run_sync(read_dataset, data, limiter=door.limiter)


def check_accept(request: Request) -> None:
    """Refuse with 406 who cannot read DICOM JSON; the query parameter goes before the header (PS3.18, 8.3.3.1)."""
    accept = request.query_params.get("accept") or request.headers.get("accept", "")
    ranges = [part.replace(" ", "").lower().split(";") for part in accept.split(",") if part.strip()]
    wanted = {name for name, *parameters in ranges if not {"q=0", "q=0.0", "q=0.00", "q=0.000"} & set(parameters)}
    if ranges and not {*_JSON_TYPES, "application/*", "*/*"} & wanted:
        raise RefusedError(406, f"only {DICOM_JSON} is spoken; change the Accept header")


def read_dataset(data: bytes) -> Attributes:
    """Read one data set, alone or in an array, and give it back in its normal form, tags in order."""
    try:
        parsed = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _malformed("it is no JSON in UTF-8") from None
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        raise _malformed("it is not one data set")
    _check_dataset(parsed, 1)
    try:
        with silence:
            return Dataset.from_json(parsed).to_json_dict(bulk_data_threshold=MAX_BODY_BYTES)
    except Exception:  # noqa: BLE001  the parser of what strangers send raises nearly anything
        raise _malformed("it is not in the DICOM JSON model") from None


def _check_dataset(dataset: Attributes, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _malformed(f"sequences lie more than {_MAX_DEPTH} deep")
    for tag, element in dataset.items():
        if not _TAG.fullmatch(tag):
            raise _malformed("a name is no tag of eight upper-case hexadecimal digits")
        if not isinstance(element, dict) or element.get("vr") not in STANDARD_VR:
            raise _malformed(f"{_name(tag)} has no value representation of PS3.5")
        if not _is_vr_of(element["vr"], tag):
            raise _malformed(f"{_name(tag)} has another value representation in PS3.6")
        _check_values(tag, element, depth)


def _check_values(tag: str, element: Attributes, depth: int) -> None:
    if "BulkDataURI" in element:
        raise _malformed(f"{_name(tag)} lies elsewhere (BulkDataURI); send its value")
    if len([key for key in _VALUE_KEYS if key in element]) > 1:
        raise _malformed(f"{_name(tag)} has its value twice")
    values = element.get("Value", [])
    if not isinstance(values, list):
        raise _malformed(f"the Value of {_name(tag)} is no array")
    for value in values:
        if element["vr"] == VR.SQ:
            if not isinstance(value, dict):
                raise _malformed(f"an item of {_name(tag)} is no data set")
            _check_dataset(value, depth + 1)
        elif value is not None and not _is_valid(element["vr"], value):
            raise _malformed(f"a value of {_name(tag)} is not valid for {element['vr']}")


def _is_vr_of(vr: str, tag: str) -> bool:
    """Texts may stand for one another: the standard has changed some, as Contact URI from ST to UR."""
    try:
        known = dictionary_VR(int(tag, 16)).split(" or ")
    except KeyError:  # private, or younger than the dictionary
        return True
    return vr in known or (vr in _TEXT_VRS and known[0] in _TEXT_VRS)


def _is_valid(vr: str, value: object) -> bool:
    """Whether PS3.5, section 6.2, allows the value. Leading zeros in UIDs are forgiven, as devices send them."""
    if vr == VR.PN:
        return isinstance(value, dict) and all(_is_text(part) for part in value.values()) and _is_name(value)
    if isinstance(value, bool) or (isinstance(value, str) and not _is_text(value)):
        return False
    if vr == VR.UI:
        return isinstance(value, str) and _UID.fullmatch(value) is not None
    try:
        validate_value(vr, str(value) if vr in _NUMBER_VRS else value, RAISE)
    except (ValueError, TypeError, OverflowError):
        return False
    return isinstance(value, str | int | float)


def _is_name(groups: Attributes) -> bool:
    names = [groups.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    try:
        validate_value(VR.PN, "=".join(names), RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _is_text(value: object) -> bool:
    """Without NUL, which PostgreSQL cannot hold, and without lone surrogates, which no encoding can."""
    return isinstance(value, str) and "\x00" not in value and _is_encodable(value)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(tag: str) -> str:
    return keyword_for_tag(int(tag, 16)) or f"({tag[:4]},{tag[4:]})"


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def _malformed(what: str) -> PlatformError:
    return PlatformError(ErrorCode.INVALID_INPUT, f"The body cannot be read: {what}.")
