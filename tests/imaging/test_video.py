"""Videos: containers, times, ranges, and cine loops of DICOM."""

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, MPEG4HP41, UID, UltrasoundMultiFrameImageStorage

from hulumed_platform.imaging import video as video_reader
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Kind
from tests.imaging.samples import codes, ct_slice, media, pictures, prepared, real, video, write


def frame_numbers(*args: object, **kwargs: object) -> list[int]:
    """Which frame of `samples.video` each plane shows: it grows lighter by 4 a frame."""
    return [round((float(shown.mean()) - 20) / 4) for shown in pictures(*args, **kwargs)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.mp4", "mpeg4"), ("v.mkv", "libx264"), ("v.webm", "libvpx"), ("v.avi", "mpeg4"), ("v.mp4", "libx264")],
)
def test_one_frame_a_second_of_every_container(tmp_path: Path, name: str, codec: str) -> None:
    """50 frames at 10 a second; B-frames and containers without time stamps included."""
    path = video(tmp_path / name, codec=codec).rename(tmp_path / "object")
    preparation = prepared(media(path), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, item.merge, item.height % 2, item.width % 2) == (Kind.VIDEO, 2, 0, 0)
    assert item.timestamps_s == pytest.approx((0, 1, 2, 3, 4), abs=1e-3)
    assert frame_numbers(preparation) == [0, 10, 20, 30, 40]
    assert "5 of 50 frames, at 1 a second" in {note.text for note in item.notes}


def test_a_time_range_is_read_from_the_right_place(tmp_path: Path) -> None:
    """Seeking lands on a key frame before; frames until the start are dropped."""
    path = video(tmp_path / "v.mp4", codec="libx264")
    preparation = prepared(media(path, start_s=3.0, end_s=4.0, fps=2.0), scratch=tmp_path)
    assert frame_numbers(preparation) == [30, 35, 40]


def test_num_planes_spreads_over_the_range(tmp_path: Path) -> None:
    """Without fps the planes spread over all frames of the range."""
    path = video(tmp_path / "v.mp4")
    assert frame_numbers(prepared(media(path, num_planes=3), scratch=tmp_path)) == [0, 25, 49]


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    """Capture cards write 4:3 pictures with other pixels: a circle must stay round."""
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 224, 224, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((224, 224, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    preparation = prepared(media(path), scratch=tmp_path)
    assert (preparation.items[0].height, preparation.items[0].width) == (16, 32)
    assert "resampled_square" in codes(preparation)


@pytest.mark.parametrize(("turn_deg", "bright"), [(90, "left"), (-90, "right"), (180, "bottom"), (0, "top")])
def test_a_film_that_was_held_upright_is_shown_upright(tmp_path: Path, turn_deg: int, bright: str) -> None:
    """Phones store lying frames and a display matrix; ignored, half of all phone videos lay on their side."""
    bright_top = np.zeros((64, 96, 3), np.uint8)
    bright_top[:32] = 250
    path = video(tmp_path / "v.mp4", num_frames=3, codec="libx264", turn_deg=turn_deg, paint=bright_top)
    preparation = prepared(media(path, num_planes=1), scratch=tmp_path)
    (shown,) = pictures(preparation)
    assert (shown.shape[0] > shown.shape[1]) == (abs(turn_deg) == 90)
    means = {"left": shown[:, :20], "right": shown[:, -20:], "top": shown[:20], "bottom": shown[-20:]}
    assert max(means, key=lambda side: float(means[side].mean())) == bright


def test_what_lies_between_is_skipped_from_key_frame_to_key_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an hour of endoscopy 128 frames are wanted: decoding all others took longer than the limit allows."""
    num_decoded, decode = 0, video_reader._decode

    def counting(*args: Any) -> Iterator[av.VideoFrame]:
        nonlocal num_decoded
        for frame in decode(*args):
            num_decoded += 1
            yield frame

    path = video(tmp_path / "v.mp4", num_frames=300, codec="libx264")
    preparation = prepared(media(path, num_planes=4), scratch=tmp_path)
    monkeypatch.setattr(video_reader, "_decode", counting)
    assert [plane.index for plane in preparation.items[0].planes] == [0, 100, 199, 299]
    assert frame_numbers(preparation) == [0, 0, 49, 49]
    assert num_decoded < 150


def test_a_film_that_was_cut_off_says_so(tmp_path: Path) -> None:
    """Half a recording looks like a shorter one."""
    content = video(tmp_path / "v.mkv", codec="libx264").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    whole, cut = (prepared(media(tmp_path / name), scratch=tmp_path) for name in ("v.mkv", "cut.mkv"))
    assert "frames_missing" not in codes(whole)
    assert "frames_missing" in codes(cut)


@pytest.mark.parametrize(
    ("name", "noise", "index", "said"),
    [("v.avi", 255, b"idx1", "frame at .* is damaged"), ("v.mp4", 0, b"moov", "video after .* cannot be read")],
)
def test_a_damaged_frame_is_refused_not_shown(tmp_path: Path, name: str, noise: int, index: bytes, said: str) -> None:
    """Some decoders fill holes with what was there before; other times of the film can still be asked for."""
    paint = np.random.default_rng(0).integers(0, noise + 1, (64, 96, 3)).astype(np.uint8)
    path = video(tmp_path / name, num_frames=60, codec="mpeg4" if noise else "libx264", paint=paint)
    content = bytearray(path.read_bytes())
    at = content.rindex(index) // 2
    content[at : at + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ImagingError, match=said + ".* Choose another time range"):
        list(prepared(media(path, fps=10.0), scratch=tmp_path).planes())
    assert len(pictures(prepared(media(path, end_s=0.3, fps=10.0), scratch=tmp_path))) == 4


def test_a_range_after_the_end_is_an_error(tmp_path: Path) -> None:
    """With the length, so that the user can mend it."""
    with pytest.raises(ImagingError, match=r"last frame is at 4\.90 seconds"):
        prepared(media(video(tmp_path / "v.mp4"), start_s=60.0), scratch=tmp_path)


def test_the_echo_cine_is_a_video_with_times(tmp_path: Path) -> None:
    """120 frames at 33.333 ms: sixteen of them, first and last included."""
    preparation = prepared(media(real("color3d_jpeg_baseline.dcm")), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, item.modality, item.num_planes) == (Kind.VIDEO, "US", 16)
    assert (item.planes[0].frame, item.planes[-1].frame) == (1, 120)
    assert item.timestamps_s is not None
    assert item.timestamps_s[-1] == pytest.approx(119 * 0.033333)
    planes = list(preparation.planes())
    assert all(np.isfinite(plane.novelty).all() for plane in planes[1:])
    assert max(float(plane.novelty.max()) for plane in planes[1:]) > 0.1


def test_frame_times_may_be_uneven(tmp_path: Path) -> None:
    """Frame Time Vector: increments in ms, the first one being 0."""
    frames = np.zeros((4, 32, 48), np.int16)
    dataset = ct_slice(frames[0], Modality="XA", NumberOfFrames=4, FrameTimeVector=[0, 100, 300, 100])
    dataset.PixelData = frames.tobytes()
    (item,) = prepared(media(write(tmp_path / "c.dcm", dataset), num_planes=4), scratch=tmp_path).items
    assert item.timestamps_s == pytest.approx((0, 0.1, 0.4, 0.5))


@pytest.mark.parametrize("vector", [[0, -100, 50, -20], [0, 100]])
def test_frame_times_that_run_backwards_are_not_believed(tmp_path: Path, vector: list[int]) -> None:
    """Nor are too few of them; a negative last time made every range lie outside the film."""
    frames = np.zeros((4, 32, 48), np.int16)
    dataset = ct_slice(frames[0], Modality="XA", NumberOfFrames=4, FrameTimeVector=vector)
    dataset.PixelData = frames.tobytes()
    preparation = prepared(media(write(tmp_path / "c.dcm", dataset)), scratch=tmp_path)
    assert preparation.items[0].timestamps_s == pytest.approx([i / 30 for i in range(4)])
    assert "times_assumed" in codes(preparation)


def test_a_loop_without_frame_time_says_so(tmp_path: Path) -> None:
    """Thirty frames a second is then an assumption."""
    frames = np.zeros((4, 32, 48), np.int16)
    dataset = ct_slice(frames[0], Modality="US", NumberOfFrames=4)
    dataset.PixelData = frames.tobytes()
    assert "times_assumed" in codes(prepared(media(write(tmp_path / "c.dcm", dataset)), scratch=tmp_path))


def encapsulated(path: Path, film: Path, syntax: str, frame_time_ms: float) -> Path:
    """A DICOM file around a video stream."""
    dataset: Dataset = ct_slice(np.zeros((64, 96), np.int16), Modality="ES")
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.SOPClassUID, dataset.NumberOfFrames, dataset.FrameTime = UltrasoundMultiFrameImageStorage, 50, frame_time_ms
    dataset.PixelData = encapsulate([film.read_bytes()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return write(path, dataset)


@pytest.mark.parametrize(
    ("syntax", "name", "codec"),
    [(MPEG4HP41, "v.mp4", "libx264"), (MPEG2MPML, "v.mpg", "mpeg2video"), (MPEG4HP41, "v.h264", "libx264")],
)
def test_video_inside_dicom_is_decoded(tmp_path: Path, syntax: str, name: str, codec: str) -> None:
    """MPEG-2 and MPEG-4 transfer syntaxes, as a container and as a bare stream; times by the header's Frame Time."""
    film = video(tmp_path / name, codec=codec, fps=25)
    path = encapsulated(tmp_path / "v.dcm", film, syntax, frame_time_ms=40)
    preparation = prepared(media(path, fps=5.0), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, item.modality, item.planes[1].frame) == (Kind.VIDEO, "ES", 6)
    assert item.timestamps_s == pytest.approx([0.2 * i for i in range(10)])
    assert frame_numbers(preparation) == [5 * i for i in range(10)]


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    """A container without moving pictures."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0" * 8000)
    with pytest.raises(ImagingError) as caught:
        prepared(media(tmp_path / "a.wav"), scratch=tmp_path)
    assert caught.value.kind == "unsupported"
