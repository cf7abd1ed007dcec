"""A peer with a worklist and storage commitment in memory, as they should be, and one fault for each name."""

import json
import re
import threading
from typing import Any
from urllib.parse import parse_qsl

from tests.dicomweb_check.peer import Request, Response
from tests.dicomweb_check.store import Store, element

_STATE, _KEY, _PERFORMED = "00741000", "00081195", "00741216"
_MISSING = "The Transaction UID is missing."
_INCORRECT = "The Transaction UID is incorrect."
_INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."


class Worklist:
    """UPS-RS and chapter 13, beside a store."""

    def __init__(self, fault: str = "") -> None:
        self._fault = fault
        self._store = Store()
        self._items: dict[str, dict[str, Any]] = {}
        self._subscriptions: set[str] = set()
        self._commitments: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        with self._lock:
            match request.method, request.path.strip("/").split("/"):
                case "POST", ["workitems"]:
                    return self._create(request)
                case "GET", ["workitems"]:
                    return self._search(dict(parse_qsl(request.query)))
                case "POST" | "DELETE", ["workitems", _, "subscribers", _]:
                    return self._subscribe(request)
                case method, ["workitems", uid, *rest]:
                    return self._on_item(method, uid, rest, request)
                case _, ["commitment-requests", transaction]:
                    return self._commit(transaction, request)
        return self._store(request)

    def _create(self, request: Request) -> Response:
        uid, (item,) = request.query, json.loads(request.body)
        if uid in self._items:
            return Response(200 if self._fault == "create-again" else 409)
        complete = all(item.get(tag, {}).get("Value") for tag in ("00741204", "00741200", _STATE))
        if not complete or item[_STATE]["Value"] != ["SCHEDULED"] or item.get(_KEY, {}).get("Value"):
            return Response(201 if self._fault == "create-anything" else 400)
        self._items[uid] = {**item, "00080018": element("UI", uid)}
        address = f"/dicom-web/workitems/{uid}"
        location = {} if self._fault == "no-location" else {"Location": address}
        return Response(201, headers={**location, "Content-Location": address})

    def _search(self, query: dict[str, str]) -> Response:
        patient = query.get("PatientID", query.get("00100020", ""))
        state = query.get("ProcedureStepState", query.get(_STATE, ""))
        found = [
            self._shown(item)
            for item in self._items.values()
            if patient in item["00100020"]["Value"] and (not state or [state] == item[_STATE]["Value"])
        ]
        return Response(200, found) if found else Response(204)

    def _shown(self, item: dict[str, Any]) -> dict[str, Any]:
        url = element("UR", "/workitems/" + ("" if self._fault == "search-url" else item["00080018"]["Value"][0]))
        hidden = () if self._fault == "key-shown" else (_KEY,)
        return {**{tag: value for tag, value in item.items() if tag not in hidden}, "00081190": url}

    def _on_item(self, method: str, uid: str, rest: list[str], request: Request) -> Response:
        item = self._items.get(uid)
        if item is None:
            return Response(404)
        match method, rest:
            case "GET", []:
                return Response(200, [self._shown(item)])
            case "POST", []:
                return self._update(item, request)
            case "PUT", ["state"]:
                return self._change_state(item, request)
            case "POST", ["cancelrequest"]:
                ended = item[_STATE]["Value"] == ["COMPLETED"] and self._fault != "cancel-completed"
                return Response(409 if ended else 202)
        return Response(405)

    def _update(self, item: dict[str, Any], request: Request) -> Response:
        (changes,) = json.loads(request.body)
        names = ("transaction-uid",) if self._fault == "one-parameter" else ("transaction", "transaction-uid")
        keys = [value for name, value in parse_qsl(request.query) if name.lower() in names]
        match item[_STATE]["Value"]:
            case ["COMPLETED"] | ["CANCELED"]:
                return Response(400)
            case ["IN PROGRESS"] if keys != item[_KEY]["Value"] and self._fault != "update-without-key":
                return Response(400)
        item.update(changes)
        return Response(200)

    def _change_state(self, item: dict[str, Any], request: Request) -> Response:
        (change,) = json.loads(request.body)
        wanted, key = change[_STATE]["Value"][0], change.get(_KEY, {}).get("Value")
        refusal = self._refusal(item, wanted, key)
        if refusal is None:
            item.update({_STATE: element("CS", wanted), _KEY: element("UI", *key)})
        return refusal or Response(200)

    def _refusal(self, item: dict[str, Any], wanted: str, key: list[str] | None) -> Response | None:
        (state,) = item[_STATE]["Value"]
        if state == wanted and state in ("COMPLETED", "CANCELED"):
            return _warning(409, f"The UPS is already in the requested state of {state}.")
        if key is None:
            return _warning(400, "" if self._fault == "no-warning" else _MISSING)
        if wanted == "IN PROGRESS":
            free = state == "SCHEDULED" or self._fault == "everybody-wins"
            return None if free else _warning(400, _INCONSISTENT)
        unmet = not item[_PERFORMED].get("Value") and self._fault != "completes-anything"
        if wanted not in ("COMPLETED", "CANCELED") or state != "IN PROGRESS" or (unmet and key == item[_KEY]["Value"]):
            return _warning(400, _INCONSISTENT)
        return None if key == item[_KEY]["Value"] else _warning(400, _INCORRECT)

    def _subscribe(self, request: Request) -> Response:
        if request.method == "POST":
            self._subscriptions.add(request.path)
            return Response(201, headers={"Content-Location": "ws://127.0.0.1/subscribers/DWCHECK"})
        known = request.path in self._subscriptions or self._fault == "unsubscribe-anything"
        self._subscriptions.discard(request.path)
        return Response(200 if known else 404)

    def _commit(self, transaction: str, request: Request) -> Response:
        if request.method == "GET":
            result = self._commitments.get(transaction)
            return Response(404) if result is None else Response(200, result)
        references = _references(request.body)
        if not references or not re.fullmatch(r"[0-9.]+", transaction):
            return Response(400)
        if transaction in self._commitments:
            return Response(200 if self._fault == "transaction-again" else 409)
        self._commitments[transaction] = result = self._judge(references)
        return Response(202) if self._fault == "takes-time" else Response(200, result)

    def _judge(self, references: list[tuple[str, str]]) -> dict[str, Any]:
        committed, failed = [], []
        for sop_class, uid in references:
            item = {"00081150": element("UI", sop_class), "00081155": element("UI", uid)}
            reason = self._reason(sop_class, uid)
            if reason and self._fault != "commits-anything":
                failed.append({**item, "00081197": element("US", reason)})
            else:
                committed.append(item)
        sequences = {"00081199": committed, "00081198": failed}
        return {tag: element("SQ", *items) for tag, items in sequences.items() if items}

    def _reason(self, sop_class: str, uid: str) -> int:
        if uid not in self._store._files:
            return 0x0112
        return 0 if sop_class == "1.2.840.10008.5.1.4.1.1.2" else 0x0119


def _references(body: bytes) -> list[tuple[str, str]]:
    try:
        (payload,) = json.loads(body)
        items = payload["00081199"]["Value"]
        return [(item["00081150"]["Value"][0], item["00081155"]["Value"][0]) for item in items]
    except (ValueError, KeyError, TypeError):
        return []


def _warning(status: int, text: str) -> Response:
    return Response(status, headers={"Warning": f"299 http://peer: {text}"} if text else {})
