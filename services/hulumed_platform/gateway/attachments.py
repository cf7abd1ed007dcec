"""Media of a chat request to references: bytes that came inside are stored first, with a time to live."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway import chat_schema as schema
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.rpc.v1 import media_pb2
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.files import Files
from hulumed_platform.storage.models import StoredFile
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.studies import Studies

_DATA_URI = re.compile(r"data:([\w.+-]{1,60}/[\w.+-]{1,60})?(?:;[\w.+-]+=[\w.+-]*)*;base64,", re.ASCII)

_KINDS: Final = {
    "image": media_pb2.MEDIA_KIND_IMAGE,
    "volume": media_pb2.MEDIA_KIND_VOLUME,
    "video": media_pb2.MEDIA_KIND_VIDEO,
}
_AXES: Final = {
    "axial": media_pb2.AXIS_AXIAL,
    "coronal": media_pb2.AXIS_CORONAL,
    "sagittal": media_pb2.AXIS_SAGITTAL,
}
_PREPROCESSING: Final = {
    "hulumed": media_pb2.PREPROCESSING_HULUMED,
    "upstream": media_pb2.PREPROCESSING_UPSTREAM,
}

_NO_OPTIONS: Final = schema.Options()

MediaPart = (
    schema.ImageUrlPart | schema.FilePart | schema.ImagePart | schema.VolumePart | schema.VideoPart | schema.StudyPart
)


class Attachments:
    """Resolves the media of one request."""

    def __init__(self, objects: ObjectStore, database: Database, settings: GatewaySettings) -> None:
        self._objects = objects
        self._database = database
        self._settings = settings

    def reference(self, part: MediaPart, where: str) -> media_pb2.MediaRef:
        """The medium of a part, stored and named by its digests.

        Raises:
            PlatformError: INVALID_INPUT for a malformed data URI, NOT_FOUND for an unknown file, study or series.
        """
        media = self._media(part, where)
        for index, ref in enumerate(media.objects, 1):  # by place and number, as the name of a file may be a patient's
            ref.label = f"{where}, file {index} of {len(media.objects)}"
        return media

    def _media(self, part: MediaPart, where: str) -> media_pb2.MediaRef:
        match part:
            case schema.ImageUrlPart():
                return self._inline(part.image_url.url, _NO_OPTIONS, "image", f"{where}.image_url.url")
            case schema.FilePart(file=file):
                return self._file(file, f"{where}.file")
            case schema.StudyPart(study=study):
                return self._study(study)
            case schema.ImagePart(image=source) | schema.VolumePart(volume=source) | schema.VideoPart(video=source):
                return self._source(source, part.type, f"{where}.{part.type}")

    def _file(self, file: schema.FileSource, where: str) -> media_pb2.MediaRef:
        if file.file_data is not None:
            return self._inline(file.file_data, _NO_OPTIONS, None, f"{where}.file_data")
        return self._uploaded([str(file.file_id)], _NO_OPTIONS, None)

    def _source(self, source: schema.Source, kind: str, where: str) -> media_pb2.MediaRef:
        if source.data is not None:
            return self._inline(source.data, source, kind, f"{where}.data")
        ids = source.file_ids if source.file_ids is not None else (str(source.file_id),)
        return self._uploaded(ids, source, kind)

    def _inline(self, uri: str, options: schema.Options, kind: str | None, where: str) -> media_pb2.MediaRef:
        media_type, data = _decode(uri, where)
        stored = self._objects.put(self._settings.tenant, [data])
        now = datetime.now(UTC)
        with self._database.session() as session:
            Files(session).add(
                self._settings.tenant,
                stored,
                media_type=media_type,
                purpose="attachment",
                now=now,
                expires_at=now + timedelta(seconds=self._settings.attachment_ttl_s),
            )
        return _media([media_pb2.ObjectRef(digest=stored.digest, size_bytes=stored.size_bytes)], options, kind)

    def _uploaded(self, ids: Sequence[str], options: schema.Options, kind: str | None) -> media_pb2.MediaRef:
        now = datetime.now(UTC)
        with self._database.reading() as session:
            files = [Files(session).get(self._settings.tenant, file_id, now=now) for file_id in ids]
        return _media([_object(file) for file in files], options, kind)

    def _study(self, source: schema.StudySource) -> media_pb2.MediaRef:
        with self._database.reading() as session:
            studies = Studies(session)
            study = studies.get(self._settings.tenant, source.study_instance_uid)
            instances = [
                instance
                for instance in studies.instances(study.id)
                if source.series_instance_uid in (None, instance.series.series_instance_uid)
            ]
        if not instances:
            raise PlatformError(ErrorCode.NOT_FOUND, "the study has no such series; look at its series list")
        refs = [media_pb2.ObjectRef(digest=one.digest, size_bytes=one.size_bytes) for one in instances]
        return _media(refs, source, None)


def _object(file: StoredFile) -> media_pb2.ObjectRef:
    return media_pb2.ObjectRef(digest=file.digest, size_bytes=file.size_bytes)


def _decode(uri: str, where: str) -> tuple[str, bytes]:
    head = _DATA_URI.match(uri)
    if head is None:
        raise PlatformError(
            ErrorCode.INVALID_INPUT,
            f"{where}: send the bytes as data:<media type>;base64,<data>; addresses are not fetched",
        )
    try:
        data = base64.b64decode(uri[head.end() :], validate=True)
    except binascii.Error:
        raise PlatformError(ErrorCode.INVALID_INPUT, f"{where}: the part after the comma is not base64") from None
    if not data:
        raise PlatformError(ErrorCode.INVALID_INPUT, f"{where}: the data URI is empty")
    return head.group(1) or "application/octet-stream", data


def _media(objects: Sequence[media_pb2.ObjectRef], options: schema.Options, kind: str | None) -> media_pb2.MediaRef:
    return media_pb2.MediaRef(
        objects=objects,
        kind=_KINDS[kind] if kind else media_pb2.MEDIA_KIND_UNSPECIFIED,
        options=_options(options),
    )


def _options(options: schema.Options) -> media_pb2.PrepareOptions:
    message = media_pb2.PrepareOptions(
        num_planes=options.num_planes, start_s=options.start_s, end_s=options.end_s, fps=options.fps
    )
    if options.window_center is not None and options.window_width is not None:
        message.window.CopyFrom(media_pb2.Window(center=options.window_center, width=options.window_width))
    if options.axis is not None:
        message.axis = _AXES[options.axis]
    if options.preprocessing is not None:
        message.preprocessing = _PREPROCESSING[options.preprocessing]
    return message
