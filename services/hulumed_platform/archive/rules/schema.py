"""What stands in a rules file. docs/rules.md says the same in words, with examples."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, model_validator

from hulumed_platform.archive.rules.expression import Expression, parse

LOCAL = "local"
"""The source of priors that asks nobody: what the platform holds already."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_AE_TITLE = r"^[\x21-\x5b\x5d-\x7e]{1,16}$"
_MIB = 1024**2


def _expression(value: object) -> Expression:
    """YAML reads a bare `true` as a truth, not as text."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool):
        return parse(str(value))
    if not isinstance(value, str) or not value.strip():
        raise ValueError("an expression is needed, like Modality == 'CT'")
    return parse(value)


When = Annotated[Expression, PlainValidator(_expression), PlainSerializer(str)]
Name = Annotated[str, Field(pattern=_NAME)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class OnForce(StrEnum):
    """What to do with a study that is over while required series are missing."""

    PROCESS = "process"
    FAIL = "fail"


class Axis(StrEnum):
    """The direction in which a volume is cut."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


class WhenAway(StrEnum):
    """What to do when the source of priors does not answer."""

    SKIP = "skip"
    WAIT = "wait"


class Prompt(_Part):
    """What the model is asked."""

    text: str = Field(min_length=1)
    """The question."""
    system: str = ""
    """What the model is told before the study; empty = nothing, as the published model was trained."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """Longest answer, in tokens."""


class Window(_Part):
    """Stored values that become black to white, in units of the modality (CT: HU)."""

    center: float
    width: float = Field(gt=0)


class Priors(_Part):
    """Which earlier studies of the patient the model sees before the study itself, the newest first."""

    count: int = Field(ge=1, le=5)
    """So many at most."""
    within_days: int = Field(default=1825, ge=1)
    """Not older than this, counted from the study's date."""
    same_modality: bool = True
    """Only studies that share a modality with what the rule chose."""
    source: Name = LOCAL
    """A name of `peers`, or `local`: studies that the platform holds already."""
    when_away: WhenAway = WhenAway.SKIP
    """A source that does not answer: go on without priors, or try the study again later."""
    max_instances: int = Field(default=2000, ge=1)
    """Largest prior that is fetched; a larger one is left out."""
    max_megabytes: int = Field(default=2048, ge=1)
    """Largest prior that is fetched, in MiB."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Time for all priors of a study together."""

    @property
    def max_bytes(self) -> int:
        return self.max_megabytes * _MIB


class Completion(_Part):
    """When a study is complete. In a rule, what is left out is as in the file's own `completion`."""

    series_quiet_s: float = Field(default=60.0, ge=0)
    """A series is open until no image of it has come for so long; an open series keeps its study open."""
    study_quiet_s: float = Field(default=60.0, ge=0)
    """A study is open until no image at all has come for so long."""
    force_s: float | None = Field(default=5400.0, gt=0)
    """A study is over so long after its first image, or the first late one; null = never."""
    required_series: tuple[When, ...] = ()
    """The study waits until each of these holds for one of its series; needs `force_s`."""
    on_force: OnForce = OnForce.PROCESS
    """What to do when a study is over while required series are missing."""
    end_on_study_stow: bool = False
    """Whether one request `POST /studies/{uid}` whose instances were all stored ends the study."""


class Rule(_Part):
    """Which studies it is for, and what to do with them."""

    name: Name
    """Stands in reports, the API and metrics."""
    when: When
    """The studies that it is for. The first rule that matches has the study."""
    series: When = Field(default_factory=lambda: parse("True"))
    """The series that go to the model; all by default."""
    prompt: Prompt
    window: Window | None = None
    """Absent = the file's own window, else one by modality."""
    axis: Axis | None = None
    num_planes: int | None = Field(default=None, ge=1)
    """Planes to take of a volume, spread evenly."""
    priors: Priors | None = None
    completion: Completion = Completion()
    deidentify: Name | None = None
    """Profile of de-identification before the model sees the study. Named here, not carried out yet."""
    destinations: tuple[Name, ...] = ()
    """Where results go. Named here, not carried out yet."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Studies of a higher number are worked on first."""


class DimsePeer(_Part):
    """A PACS that is asked by DICOM's own network protocol."""

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(ge=1, le=65535)
    ae_title: str = Field(pattern=_AE_TITLE)
    """The PACS's."""
    calling_ae_title: str = Field(default="HULUMED", pattern=_AE_TITLE)
    """Ours, as the PACS knows it."""
    move_to: str | None = Field(default=None, pattern=_AE_TITLE)
    """AE title of our `dimse` room as the PACS knows it: fetch by C-MOVE to it. Absent = by C-GET."""


class DicomwebPeer(_Part):
    """A PACS that is asked by DICOMweb."""

    url: str = Field(pattern=r"^https?://[^\s?#]+$")
    """Under which `/studies` is."""
    token_file: Path | None = None
    """File with a bearer token."""


class Peer(_Part):
    """A PACS, by one of two protocols."""

    dimse: DimsePeer | None = None
    dicomweb: DicomwebPeer | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.dimse is None) == (self.dicomweb is None):
            raise ValueError("a peer has either dimse or dicomweb")
        return self


class RulesDocument(_Part):
    """A whole file."""

    completion: Completion = Completion()
    """What rules do not say of completion, and what holds for a study that no rule matches yet."""
    peers: Mapping[Name, Peer] = Field(default_factory=dict)
    rules: tuple[Rule, ...]

    def completion_of(self, rule: Rule) -> Completion:
        """What holds for a rule: its own words, and the file's where it has none."""
        own = {name: getattr(rule.completion, name) for name in rule.completion.model_fields_set}
        return self.completion.model_copy(update=own)
