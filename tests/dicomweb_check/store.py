"""A peer that stores in memory as it should, and one fault for each name."""

import io
import re
from typing import Any

import pydicom

from hulumed_platform.dicomweb_check.synthetic import without_meta
from tests.dicomweb_check.peer import Request, Response


def element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


class Store:
    """STOW-RS with the metadata of WADO-RS to look at what is there."""

    def __init__(self, fault: str = "") -> None:
        self._fault = fault
        self._files: dict[str, tuple[str, bytes]] = {}

    def __call__(self, request: Request) -> Response:
        if request.method == "POST" and request.path.startswith("/studies"):
            return self._store(request)
        if found := re.fullmatch(r"/studies/([^/]+)/series/[^/]+/instances/([^/]+)(/metadata)?", request.path):
            return self._retrieve(found[1], found[2], metadata=bool(found[3]))
        return Response(404)

    def _store(self, request: Request) -> Response:
        parts = _parts(request)
        if not parts:
            return Response(400)
        wanted = request.path.removeprefix("/studies").lstrip("/")
        outcomes = [self._keep(part, wanted) for part in parts]
        return self._answer(outcomes, request)

    def _keep(self, part: bytes, wanted: str) -> dict[str, Any]:
        try:
            data = pydicom.dcmread(io.BytesIO(part), stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            return {"00081197": element("US", 0xC000)}
        uid, study = str(data.SOPInstanceUID), str(data.StudyInstanceUID)
        item = {"00081150": element("UI", str(data.SOPClassUID)), "00081155": element("UI", uid)}
        known = self._files.get(uid)
        if wanted not in ("", study):
            return {**item, "00081197": element("US", 0xB007 if self._fault == "warning-as-failure" else 0xA901)}
        if (
            known
            and (without_meta(known[1]) != without_meta(part) or self._fault == "identical-refused")
            and self._fault != "conflict-silent"
        ):
            return {**item, "00081197": element("US", 0x0111)}
        if known and self._fault == "deletes-what-comes-twice":
            del self._files[uid]
        elif self._fault != "acknowledges-and-drops" or str(data.PatientID).endswith("SEED"):
            self._files[uid] = (study, part)
        path = f"/studies/{study}/series/{data.SeriesInstanceUID}/instances/{uid}"
        return {**item, "00081190": element("UR", f"http://elsewhere.example/dicom-web{path}"), "study": study}

    def _answer(self, outcomes: list[dict[str, Any]], request: Request) -> Response:
        stored = [item for item in outcomes if "study" in item]
        failed = [item for item in outcomes if "00081155" in item and "study" not in item]
        other = [item for item in outcomes if "00081155" not in item]
        if other and self._fault == "garbage-is-500":
            return Response(500)
        body: dict[str, Any] = {
            "00081190": element("UR", *{f"http://x/studies/{item.pop('study')}" for item in stored})
        }
        sequences = {"00081199": stored, "00081198": failed, "0008119A": other}
        for tag, items in sequences.items():
            if items or (self._fault == "empty-sequences"):
                body[tag] = element("SQ", *items)
        if self._fault == "reason-missing":
            [item.pop("00081197") for item in failed]
        status = 409 if not stored else 202 if failed or other else 200
        return Response(200 if self._fault == "always-200" else status, body)

    def _retrieve(self, study: str, uid: str, *, metadata: bool) -> Response:
        known = self._files.get(uid)
        if known is None or known[0] != study:
            return Response(404)
        if metadata:
            return Response(200, [{"00080018": element("UI", uid)}])
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + known[1] + b"\r\n--b--\r\n"
        return Response(200, body, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'})


def _parts(request: Request) -> list[bytes]:
    found = re.search(r"boundary=\"?([^\";]+)", request.headers.get("content-type", ""))
    if found is None:
        return []
    pieces = (b"\r\n" + request.body).split(b"\r\n--" + found[1].encode())
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]
