"""The body of `POST /v1/chat/completions`: OpenAI's schema, and our extension parts for volumes, videos and studies."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.records import check_uid


def _checked_uid(uid: str) -> str:
    try:
        check_uid(uid, "UID")
    except PlatformError as error:
        raise ValueError(error.message) from None
    return uid


_Uid = Annotated[str, AfterValidator(_checked_uid)]
_HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "stream_options"}
"""Fields that clients send and that do not change what the answer should be."""
_AS_IF_ABSENT: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logprobs": (None, False),
    "top_logprobs": (None,),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "tools": (None,),
    "tool_choice": (None, "none"),
    "parallel_tool_calls": (None,),
}
"""Values by which clients say that they do not want what we do not have."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Options(_Closed):
    """How a medium is prepared; what is left out follows the file or the modality."""

    window_center: float | None = Field(default=None, allow_inf_nan=False)
    """Middle of the window, in units of the modality (CT: HU); needs `window_width`."""
    window_width: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Width of the window; needs `window_center`."""
    axis: Literal["axial", "coronal", "sagittal"] | None = None
    """Plane that the slices of a volume lie in."""
    num_planes: int | None = Field(default=None, ge=1, le=100_000)
    """Planes to take, spread evenly."""
    start_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    end_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    fps: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Planes for each second of video."""
    preprocessing: Literal["hulumed", "upstream"] | None = None

    @model_validator(mode="after")
    def _whole_window(self) -> Self:
        if (self.window_center is None) != (self.window_width is None):
            raise ValueError("a window needs both window_center and window_width")
        return self


class Source(Options):
    """Where the bytes of a medium are: files uploaded before, or a data URI."""

    file_id: str | None = None
    file_ids: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Several files that are one medium, e.g. the DICOM files of a series."""
    data: str | None = None
    """`data:<media type>;base64,<bytes>`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(value is not None for value in (self.file_id, self.file_ids, self.data)) != 1:
            raise ValueError("give exactly one of file_id, file_ids and data")
        return self


class StudySource(Options):
    """A stored study, or one series of it."""

    study_instance_uid: _Uid
    series_instance_uid: _Uid | None = None


class ImageUrl(_Closed):
    """OpenAI's image part; only data URIs are read, nothing is fetched."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class FileSource(_Closed):
    """OpenAI's file part; what it is is found out from its content."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file_id is None) == (self.file_data is None):
            raise ValueError("give exactly one of file_id and file_data")
        return self


class TextPart(_Closed):
    type: Literal["text"]
    text: str


class ImageUrlPart(_Closed):
    type: Literal["image_url"]
    image_url: ImageUrl


class FilePart(_Closed):
    type: Literal["file"]
    file: FileSource


class ImagePart(_Closed):
    type: Literal["image"]
    image: Source


class VolumePart(_Closed):
    type: Literal["volume"]
    volume: Source


class VideoPart(_Closed):
    type: Literal["video"]
    video: Source


class StudyPart(_Closed):
    type: Literal["study"]
    study: StudySource


Part = Annotated[
    TextPart | ImageUrlPart | FilePart | ImagePart | VolumePart | VideoPart | StudyPart, Field(discriminator="type")
]


class Message(BaseModel):
    """One turn of the conversation. `name` and the like are of no use to the model and ignored."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: tuple[Part, ...] = Field(min_length=1)

    @field_validator("content", mode="before", json_schema_input_type=str | tuple[Part, ...])
    @classmethod
    def _as_parts(cls, content: Any) -> Any:
        return ({"type": "text", "text": content},) if isinstance(content, str) else content

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Only an answer that a client sends back may be empty."""
        if self.role != "assistant" and all(isinstance(part, TextPart) and not part.text for part in self.content):
            raise ValueError("the message is empty")
        return self


class Keep(_Closed):
    """Our extension field `hulumed`: which visual tokens are kept."""

    policy: Literal["hulumed", "upstream", "none"] | None = None
    threshold: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    min_tokens: int | None = Field(default=None, ge=1, le=1_000_000)


class StreamOptions(BaseModel):
    """What a stream ends with."""

    include_usage: bool = False


class ChatRequest(_Closed):
    """A chat request. Fields that would change the answer and are not known here are refused, not ignored."""

    model: str
    messages: tuple[Message, ...] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stop: str | tuple[str, ...] | None = None
    n: Literal[1] | None = None
    hulumed: Keep = Keep()

    @model_validator(mode="before")
    @classmethod
    def _drop_harmless(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        ignored = _HARMLESS - set(cls.model_fields)
        return {
            name: value
            for name, value in body.items()
            if name not in ignored and value not in _AS_IF_ABSENT.get(name, ())
        }

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        stops = (stop,) if isinstance(stop, str) else stop or ()
        if len(stops) > 4 or not all(stops):
            raise ValueError("give one to four strings, none of them empty")
        return stop

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else self.stop or ()
