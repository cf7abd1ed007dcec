"""Expressions: what they mean, what is refused, and that no expression can do anything else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.archive.rules.expression import ExpressionError, parse
from hulumed_platform.archive.rules.facts import SeriesSource, StudyFacts, facts_of


def element(*values: object) -> dict[str, object]:
    return {"vr": "LO", "Value": list(values)}


CT = SeriesSource(
    "1.2.1",
    {"00080060": element("CT"), "0008103E": element("Chest Thin [1.25]")},
    2,
    [{"00180050": element(1.25), "00080008": element("ORIGINAL", "PRIMARY")}, {"00180050": element("5")}],
    door="dimse",
    calling_ae_title="CT1",
)
SR = SeriesSource("1.2.2", {"00080060": element("SR")}, 1)
STUDY = facts_of({"00101010": element("018M"), "00100010": element({"Alphabetic": "DOE^JANE"})}, [CT, SR])


@pytest.mark.parametrize(
    "source",
    [
        "True",
        "Modality == 'CT'",
        "Modality in ['MR', 'SR']",
        "Modality not in ['MR', 'XA']",
        "not Modality == 'MR'",
        "Modality != 'MR'",
        "ImageType == 'PRIMARY'",
        "SliceThickness < 2 and SliceThickness >= 5",
        "PatientAge > 1.49 and PatientAge < 1.51",
        "like(SeriesDescription, '*thin [1*')",
        "like(PatientName, 'doe^????')",
        "NumberOfStudyRelatedInstances == 3 and NumberOfStudyRelatedSeries == 2",
        "ModalitiesInStudy == 'SR'",
        "Door == 'dimse' and CallingAETitle == 'CT1'",
        "any_series(Modality == 'CT' and NumberOfSeriesRelatedInstances >= 2)",
        "not any_series(Modality == 'SR' and present(SliceThickness))",
        "not present(StudyDate)",
        "StudyDate >= '2026' or True",
        "SliceThickness > -1",
    ],
)
def test_what_holds(source: str) -> None:
    """One fitting value of one image is enough; numbers compare as numbers, however they were sent."""
    assert parse(source).holds(STUDY)
    assert parse(source).why_not(STUDY) == []


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("False", "it never matches"),
        ("Modality == 'MR'", "Modality == 'MR': Modality is 'CT', 'SR'"),
        ("Modality != 'CT'", "Modality != 'CT': Modality is 'CT', 'SR'"),
        ("StudyDate == '20260101'", "StudyDate == '20260101': StudyDate is missing"),
        ("not StudyDate == '20260101'", "StudyDate == '20260101': StudyDate is missing"),
        ("StudyDate != '20260101'", "StudyDate != '20260101': StudyDate is missing"),
        ("Modality == 'CT' and Modality == 'MR'", "Modality == 'MR': Modality is 'CT', 'SR'"),
        ("SliceThickness > 5", "SliceThickness > 5: SliceThickness is 1.25, 5"),
        ("present(StudyDate)", "present(StudyDate): StudyDate is missing"),
        ("not Modality == 'CT'", "not Modality == 'CT': it is so"),
        ("any_series(Modality == 'MR')", "any_series(Modality == 'MR'): no series of 2"),
    ],
)
def test_what_does_not_hold_and_why(source: str, why: str) -> None:
    """What is not known is never true, whichever way it is asked: nothing goes anywhere because a header is bare."""
    assert not parse(source).holds(STUDY)
    assert parse(source).why_not(STUDY) == [why]


def test_a_series_knows_its_study_and_not_its_neighbours() -> None:
    """The choice of series asks one series at a time."""
    ct, sr = STUDY.series
    assert [parse("SliceThickness > 0").holds(one) for one in (ct, sr)] == [True, False]
    assert [parse("present(PatientName)").holds(one) for one in (ct, sr)] == [True, True]
    assert [parse("NumberOfSeriesRelatedInstances == 1").holds(one) for one in (ct, sr)] == [False, True]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "column"),
        ("Modality", "column 1: Modality alone says nothing"),
        ("Modalty == 'CT'", "column 1: Modalty is no DICOM keyword"),
        ("True and PixelData == 'x'", "column 10: PixelData is not remembered"),
        ("RequestAttributesSequence == 'x'", "not remembered"),
        ("Modality == 3", "column 13: Modality can only be compared with text"),
        ("SliceThickness == '3'", "column 19: SliceThickness can only be compared with a number"),
        ("SliceThickness == True", "a number is needed"),
        ("SliceThickness == " + "9" * 400, "a number is needed"),
        ("like(SliceThickness, '1*')", "can only be compared with a number"),
        (f"like(Modality, '{'*a' * 60}')", "100 characters"),
        ("1 < SliceThickness < 3", "two things at a time"),
        ("Modality in 'CT'", "a list"),
        ("Modality is 'CT'", "not understood"),
        ("__import__('os').system('true')", "the functions are"),
        ("eval('1')", "the functions are"),
        ("like(Modality, 'x', flags=1)", "the functions are"),
        ("Modality.upper() == 'CT'", "a DICOM keyword"),
        ("Modality == f'{1}'", "text in quotes"),
        ("[x for x in (1, 2)]", "not understood"),
        ("(lambda: True)()", "the functions are"),
        ("Modality == 'CT' and", "invalid syntax"),
        ("(" * 300 + "True" + ")" * 300, "nested"),
        ("not " * 100 + "True", "nested"),
        ("Modality == 'CT' or " * 60 + "True", "1000 are allowed"),
        ("Modality == '\0'", ""),
    ],
)
def test_what_is_refused(source: str, message: str) -> None:
    """Every fault shows when the file is read, with its column, and none when a study comes."""
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    assert message in str(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"\A(not |like|Modality|==|'|\(|\)|in| |,|present|[0-9.]|and ){1,15}\Z"))
def test_any_text_is_understood_or_refused(source: str) -> None:
    """No text at all makes the parser raise anything else, and what it takes can be asked of any study."""
    try:
        expression = parse(source)
    except ExpressionError:
        return
    expression.holds(STUDY)
    expression.holds(facts_of({}, []))


atoms = st.sampled_from(["Modality == 'CT'", "Modality == 'MR'", "StudyDate == '1'", "present(StudyDate)"])
expressions = st.recursive(
    atoms,
    lambda inner: (
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} and {pair[1]})")
        | st.tuples(inner, inner).map(lambda pair: f"({pair[0]} or {pair[1]})")
        | inner.map(lambda one: f"not ({one})")
    ),
    max_leaves=6,
)


@given(expressions)
def test_unknown_stays_unknown(source: str) -> None:
    """An expression and its `not` are never both true, and one that is true stays so when more is known."""
    assert not (parse(source).holds(STUDY) and parse(f"not ({source})").holds(STUDY))
    if parse(source).holds(STUDY) and "present" not in source:
        assert parse(source).holds(_with_date("1"))
        assert parse(source).holds(_with_date("2"))
    assert bool(parse(source).why_not(STUDY)) is not parse(source).holds(STUDY)


def _with_date(date: str) -> StudyFacts:
    return facts_of({"00080020": element(date)}, [CT, SR])


def test_a_hostile_pattern_costs_nothing() -> None:
    """Many wildcards against a long value: a regular expression might try for years."""
    series = SeriesSource("1.2.3", {"0008103E": element("a" * 1000 + "b")}, 1)
    started = time.process_time()
    assert not parse(f"like(SeriesDescription, '{'*a' * 49}c')").holds(facts_of({}, [series]))
    assert time.process_time() - started < 1
