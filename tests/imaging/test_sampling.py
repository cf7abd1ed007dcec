"""Which planes are taken, and what is told about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.sampling import evenly, sample_frames, sample_slices
from hulumed_platform.imaging.types import Limits, PrepareOptions

LIMITS = Limits()
TEN_SECONDS = [i / 10 for i in range(100)]


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_evenly_never_takes_a_plane_twice(count: int, wanted: int) -> None:
    """The published linspace shows slices of short volumes twice."""
    indices = evenly(count, wanted)
    assert len(indices) == min(count, wanted)
    assert indices == sorted(set(indices))
    assert 0 <= indices[0] <= indices[-1] < count


@given(
    gaps=st.lists(st.floats(0.01, 5), min_size=1, max_size=60), fps=st.floats(0.05, 100) | st.none(), cine=st.booleans()
)
def test_frames_are_ascending_and_never_repeat(gaps: list[float], fps: float | None, cine: bool) -> None:
    """Uneven time stamps included."""
    times_s = [sum(gaps[:i]) for i in range(len(gaps))]
    chosen, _ = sample_frames(times_s, PrepareOptions(fps=fps), LIMITS, cine=cine)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0


def test_one_frame_a_second_is_the_default() -> None:
    """Published default."""
    chosen, notes = sample_frames(TEN_SECONDS, PrepareOptions(), LIMITS)
    assert chosen == list(range(0, 100, 10))
    assert [note.text for note in notes] == ["10 of 100 frames, at 1 a second"]


def test_time_range_and_rate() -> None:
    """2.0 to 4.0 seconds at 2 a second: both ends included."""
    chosen, _ = sample_frames(TEN_SECONDS, PrepareOptions(start_s=2.0, end_s=4.0, fps=2.0), LIMITS)
    assert [TEN_SECONDS[i] for i in chosen] == [2.0, 2.5, 3.0, 3.5, 4.0]


def test_ends_that_were_rounded_are_included() -> None:
    """3 x 0.1 is a little more than 0.3: the frame at the end of the range was lost."""
    times_s = [i * 0.1 for i in range(10)]
    chosen, _ = sample_frames(times_s, PrepareOptions(start_s=0.1, end_s=0.3, fps=10.0), LIMITS)
    assert chosen == [1, 2, 3]


def test_a_rate_above_the_films_own_takes_every_frame_once() -> None:
    """No frame is doubled to reach the rate."""
    chosen, _ = sample_frames(TEN_SECONDS, PrepareOptions(fps=60.0), LIMITS)
    assert chosen == list(range(100))


@pytest.mark.parametrize("options", [PrepareOptions(start_s=11.0), PrepareOptions(end_s=20.0)])
def test_a_time_range_outside_the_film_is_an_error(options: PrepareOptions) -> None:
    """Not an answer about another part of the film."""
    with pytest.raises(ImagingError, match="after the video"):
        sample_frames(TEN_SECONDS, options, LIMITS)


def test_a_long_volume_is_sampled_and_says_so() -> None:
    """Nothing is dropped silently."""
    chosen, notes = sample_slices(320, PrepareOptions(num_planes=64), LIMITS)
    assert len(chosen) == 64
    assert notes[0].text == "64 of 320 slices, evenly spread"


def test_asking_for_more_than_there_is_says_so() -> None:
    """All slices come, once."""
    chosen, notes = sample_slices(20, PrepareOptions(num_planes=64), LIMITS)
    assert chosen == list(range(20))
    assert notes[0].code == "fewer_planes"
