"""Facts: what headers say, whatever devices write into them."""

from typing import Any

import pytest

from hulumed_platform.archive.rules.facts import SeriesSource, facts_of


def known(tag: str, *values: Any) -> tuple[object, ...]:
    return tuple(facts_of({tag: {"vr": "UN", "Value": list(values)}}, []).known.values())[:-2]


@pytest.mark.parametrize(
    ("tag", "values", "facts"),
    [
        ("00101010", ["045Y"], (45.0,)),
        ("00101010", ["006M"], (0.5,)),
        ("00101010", ["old"], None),
        ("00200013", [3, "4", 3], (3.0, 4.0)),
        ("00180050", ["nan"], None),
        ("00180050", [None, "1.5"], (1.5,)),
        ("00080060", [" CT ", ""], ("CT",)),
        ("00100010", [{"Alphabetic": "DOE"}, {"Ideographic": "x"}], ("DOE",)),
        ("00080060", [], None),
        ("00400275", [{"00401001": {"vr": "SH", "Value": ["1"]}}], None),
        ("7FE00010", ["x"], None),
    ],
)
def test_values(tag: str, values: list[Any], facts: tuple[object, ...] | None) -> None:
    """Each value once, as what its keyword promises; what is none is missing."""
    assert known(tag, *values) == (() if facts is None else (facts,))


def test_values_do_not_show_in_logs() -> None:
    """Facts are patient data, and a dataclass tells all that it holds."""
    facts = facts_of({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]}}, [SeriesSource("1.2", {}, 1)])
    assert "DOE" not in repr(facts)
