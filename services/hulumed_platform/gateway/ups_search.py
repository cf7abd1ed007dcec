"""What a search for workitems asks for and gets (PS3.18, sections 8.3.4 and 11.9)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hulumed_platform.gateway.ups_body import Attributes
from hulumed_platform.gateway.ups_matching import TRANSACTION_UID, tag_of
from hulumed_platform.gateway.ups_refusal import RefusedError
from hulumed_platform.gateway.ups_rules import SOP_INSTANCE, element, value_of

MAX_RESULTS = 1000
"""Workitems in one answer; the rest is to be had by `offset`."""
_RETURNED = (
    *("00080005", "00080016", "00080018", "00741200", "00404010", "00741204", "00741202", "00741210"),
    *("00404025", "00404026", "00404027", "00404034", "00404005", "00404011", "00404018", "00404041", "00404021"),
    *("0020000D", "00100010", "00100020", "00100021", "00100024", "00101002", "00100030", "00100040"),
    *("00380010", "00380014", "00081080", "00081084", "0040A370", "00102000", "001021C0", "00380050"),
    *("00741000", "00741002"),
)
"""Return keys of type 1, 1C, 2 and 2C (PS3.4, table CC.2.5-3), and the times that worklists are sorted by."""
_RETRIEVE_URL = "00081190"
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Search:
    """A search that was read. `query` are all parameters: those that name no attribute match everything."""

    query: list[tuple[str, str]]
    fields: frozenset[str] | None
    """Tags to return; None = all."""
    limit: int
    offset: int
    is_fuzzy: bool

    def warnings(self, *, has_more: bool) -> list[str]:
        """Texts of the Warning header."""
        texts = []
        if self.is_fuzzy:
            texts.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
        if has_more and not any(name == "limit" for name, _ in self.query):
            texts.append("There are additional results that can be requested.")
        return texts


def read_search(parameters: Iterable[tuple[str, str]]) -> Search:
    """Read the parameters. Raises RefusedError 400 for a malformed one; what is unknown is ignored."""
    query = list(parameters)
    values = dict(query)
    names = [name for key, value in query if key == "includefield" for name in value.split(",")]
    tags = {tag for name in names if (tag := tag_of(name.split(".")[0]))}
    matched = {tag for name, _ in query if (tag := tag_of(name.split(".")[0]))}
    return Search(
        query=query,
        fields=None if "all" in names else frozenset({*_RETURNED, *tags, *matched}),
        limit=min(_number("limit", values.get("limit", str(MAX_RESULTS))), MAX_RESULTS),
        offset=_number("offset", values.get("offset", "0")),
        is_fuzzy=_flag("fuzzymatching", values.get("fuzzymatching", "false")),
    )


def selected(data_set: Attributes, search: Search, url: str) -> Attributes:
    """What a search returns of a data set, with the address of the whole one."""
    found = {tag: value for tag, value in data_set.items() if search.fields is None or tag in search.fields}
    found[_RETRIEVE_URL] = element("UR", f"{url}/{value_of(data_set, SOP_INSTANCE)}")
    assert TRANSACTION_UID not in found, "a data set to be shown holds no lock"
    return dict(sorted(found.items()))


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise RefusedError(400, f"{name} is a whole number of at least 0")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise RefusedError(400, f"{name} is true or false")
    return text == "true"
