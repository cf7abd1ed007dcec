"""Rules files: what is read, and that every fault is told with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.archive.rules.load import RulesError, parse_rules, read_rules
from tests.support.rules import rules

FULL = """
completion: {series_quiet_s: 30, force_s: 600}
peers:
  archive: {dimse: {host: pacs, port: 104, ae_title: PACS}}
rules:
  - name: chest-ct
    when: Modality == 'CT' and BodyPartExamined == 'CHEST'
    series: not ImageType == 'LOCALIZER'
    prompt: {system: Be brief., text: "Report, please: thorax", max_new_tokens: 300}
    window: {center: 40, width: 400}
    axis: coronal
    num_planes: 40
    priors: {count: 2, within_days: 700, source: archive, when_away: wait}
    completion:
      study_quiet_s: 90
      required_series: ["Modality == 'CT' and SliceThickness < 2"]
      on_force: fail
      end_on_study_stow: true
    deidentify: basic
    destinations: [pacs, ehr]
    priority: 5
  - name: rest
    when: true
    prompt: {text: "Report."}
"""


def faults(text: str) -> list[str]:
    with pytest.raises(RulesError) as caught:
        rules(text)
    return [str(fault) for fault in caught.value.faults]


def test_a_whole_file() -> None:
    """Rules take from the file's `completion` what they do not say; text stays text, colons and all."""
    read = rules(FULL)
    chest, rest = read.rules
    assert (chest.completion.series_quiet_s, chest.completion.study_quiet_s, chest.completion.force_s) == (30, 90, 600)
    assert (rest.completion.series_quiet_s, rest.completion.study_quiet_s) == (30, 60)
    assert (chest.prompt.text, chest.priority, chest.destinations) == ("Report, please: thorax", 5, ("pacs", "ehr"))
    assert rest.when.source == "True"
    assert read.needs_instances
    assert not rules("rules: [{name: a, when: Modality == 'CT', prompt: {text: x}}]").needs_instances


def test_a_rule_is_kept_whole() -> None:
    """What a study remembers of its rule is the rule."""
    chosen = ChosenRule(rules(FULL).rules[0], rules(FULL).digest)
    again = ChosenRule.from_json(chosen.to_json())
    assert again.to_json() == chosen.to_json()
    assert again.rule.when.source == chosen.rule.when.source


def test_all_faults_at_once_with_their_lines() -> None:
    """Who mends a file wants to see all that is wrong with it, and where."""
    text = """\
        completion: {series_quiet: 3}
        rules:
          - name: a b
            when: Modalty == 'CT'
            prompt:
              texts: x
            completion:
              required_series:
                - Modality == 3
          - name: c
            when: 5
            prompt: {text: x}
            completion: {force_s: null, required_series: [True]}
            priority: 1000
        rule: 3
        """
    assert faults(text) == [
        "line 1: completion.series_quiet: there is no such key",
        "line 3: rules.1.name: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'",
        "line 4: rules.1.when: column 1: Modalty is no DICOM keyword",
        "line 5: rules.1.prompt.text: Field required",
        "line 6: rules.1.prompt.texts: there is no such key",
        "line 9: rules.1.completion.required_series.1: column 13: Modality can only be compared with text in quotes",
        "line 11: rules.2.when: an expression is needed, like Modality == 'CT'",
        "line 14: rules.2.priority: Input should be less than or equal to 100",
        "line 15: rule: there is no such key",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: the file is empty; it needs rules"),
        ("rules: []", "line 1: rules: at least one rule is needed"),
        ("a: 1\nrules: [", "line 2: no YAML"),
        ("a: &x 1\nb: *x", "line 2: aliases"),
        ("rules: 1\nrules: 2", "line 1: rules is given more than once"),
        ("- 3", "line 1: the file: Input should be"),
        ("rules: [3]", "line 1: rules.1: Input should be"),
        ("x: !!python/object:os.system {}", "line 1: rules: Field required"),
        ("x: !!python/name:os.system", "line 1: this value is not understood"),
        ("? [a]\n: 3", "line 1: a key must be a word"),
        ("- " * 5000, "line 1: no YAML"),
        ("x: \x07", "line 1: no YAML"),
    ],
)
def test_files_that_are_none(text: str, fault: str) -> None:
    """Nothing of YAML that makes objects, bombs or surprises is read."""
    assert faults(text)[0].startswith(fault)


def test_what_one_rule_alone_cannot_know() -> None:
    """Names are unique, and a source of priors is one of the peers."""
    text = """\
        rules:
          - {name: a, when: true, prompt: {text: x}}
          - {name: a, when: true, prompt: {text: x}, priors: {count: 1, source: pacs}}
        """
    assert faults(text) == [
        "line 2: rules.1.name: two rules are named a",
        "line 3: rules.2.name: two rules are named a",
        "line 3: rules.2.priors.source: peers names no pacs",
    ]
    assert (
        "rules.1.completion: required_series needs force_s"
        in faults(
            "rules: [{name: a, when: true, prompt: {text: x}, completion: {force_s: null, required_series: [true]}}]"
        )[0]
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a binary one and one beyond all measure are faults too."""
    with pytest.raises(RulesError, match="cannot be read: No such file"):
        read_rules(tmp_path / "none.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(RulesError, match="larger than 1 MiB"):
        read_rules(large)
    with pytest.raises(RulesError, match="line 2: the file is not UTF-8"):
        parse_rules(b"a: 1\nb: \xff")


@given(st.text(max_size=80) | st.from_regex(r"\A([ \-\[\]{}:,&*!?|>'\"#%@`a-c\n]|rules|when){1,30}\Z"))
def test_any_text_is_rules_or_faults(text: str) -> None:
    """A file being written by an editor may hold anything for a moment; the worker must live on."""
    try:
        parse_rules(text.encode(errors="surrogatepass"))
    except RulesError:
        return
