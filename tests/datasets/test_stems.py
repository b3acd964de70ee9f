import dataclasses

import numpy as np
import pytest

from sepcli.datasets.stems import SCALE, StemBank, concatenate
from sepcli.errors import InputError


def ramp(first: int, length: int) -> np.ndarray:
    return np.arange(first, first + length, dtype=np.int16)


@pytest.fixture
def bank() -> StemBank:
    """Sample values tell where a chunk is from: song s of source k starts at 10000 k + 1000 s."""
    drums = [(0, ramp(0, 60)), (1, ramp(1000, 20)), (2, ramp(2000, 100))]
    bass = [(2, ramp(12000, 80)), (0, ramp(10000, 70)), (3, ramp(13000, 50))]
    return concatenate(("drums", "bass"), 10, (drums, bass))


def test_seconds_are_those_of_the_recordings(bank: StemBank) -> None:
    assert bank.seconds == (18.0, 20.0)


def test_chunks_are_whole_and_never_span_two_recordings(bank: StemBank) -> None:
    chunks = np.round(bank.sample(np.random.default_rng(0), 500, 20) * SCALE).astype(int)
    assert chunks.shape == (500, 2, 20)
    assert (np.diff(chunks, axis=-1) == 1).all()
    assert set(np.unique(chunks[:, 0] // 1000)) == {0, 1, 2}
    assert set(np.unique(chunks[:, 1] // 1000)) == {10, 12, 13}


def test_every_place_is_drawn_as_often_as_the_others(bank: StemBank) -> None:
    first = np.round(bank.sample(np.random.default_rng(0), 6000, 51)[:, 0, 0] * SCALE).astype(int)
    places, counts = np.unique(first, return_counts=True)
    assert places.tolist() == [*range(10), *range(2000, 2050)]  # 60 places: the song of 20 samples has none
    assert counts.min() > 60
    assert counts.max() < 145  # 100 ± 4.5 standard deviations


def test_sources_are_unrelated_in_sample(bank: StemBank) -> None:
    first = bank.sample(np.random.default_rng(0), 2000, 5)[:, :, 0]
    assert abs(np.corrcoef(first.T)[0, 1]) < 0.1


def test_together_is_the_same_song_at_the_same_place(bank: StemBank) -> None:
    chunks = np.round(bank.together(np.random.default_rng(0), 500, 30) * SCALE).astype(int)
    assert (chunks[:, 1] == chunks[:, 0] + 10000).all()
    assert set(np.unique(chunks[:, 0] // 1000)) == {0, 2}
    assert chunks[:, 0].max() == 2079  # the shorter bass ends there


def test_the_generator_decides_everything(bank: StemBank) -> None:
    for method in (bank.sample, bank.together):
        one, two = (method(np.random.default_rng(7), 8, 10) for _ in range(2))
        np.testing.assert_array_equal(one, two)
        assert one.dtype == np.float32


def test_quiet_chunks_are_drawn_again() -> None:
    recording = np.concatenate([np.zeros(900, np.int16), np.full(100, 16384, np.int16)])
    bank = concatenate(("bass",), 10, [[(0, recording)]])
    rms = np.sqrt((bank.sample(np.random.default_rng(0), 200, 10, min_rms=0.02) ** 2).mean(axis=-1))
    assert (rms > 0.02).mean() > 0.95  # 32 tries find a tenth of the song in 97 of 100 cases


def test_a_source_that_is_always_too_quiet_gives_its_loudest_chunk() -> None:
    recording = np.where(np.arange(200) < 100, 10, 20).astype(np.int16)
    bank = concatenate(("bass",), 10, [[(0, recording)]])
    assert (
        np.round(bank.sample(np.random.default_rng(0), 3, 10, min_rms=0.5) * SCALE).max(axis=-1).min() == 20
    )


def test_full_scale_is_minus_one() -> None:
    bank = concatenate(("bass",), 10, [[(0, np.full(9, -32768, np.int16))]])
    assert bank.sample(np.random.default_rng(0), 1, 9).min() == -1.0


def test_chunks_longer_than_any_recording_are_an_error(bank: StemBank) -> None:
    with pytest.raises(InputError, match=r"(?=.*bass)(?=.*9\.00)"):
        bank.sample(np.random.default_rng(0), 1, 90)
    with pytest.raises(InputError, match=r"(?=.*drums)(?=.*bass)"):
        bank.together(np.random.default_rng(0), 1, 81)


def test_sources_without_a_common_song_are_an_error() -> None:
    bank = concatenate(("a", "b"), 10, [[(0, ramp(0, 9))], [(1, ramp(0, 9))]])
    with pytest.raises(InputError):
        bank.together(np.random.default_rng(0), 1, 5)


def test_a_bank_cannot_be_changed(bank: StemBank) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        bank.sample_rate = 1  # type: ignore[misc]


def test_some_sources_in_another_order(bank: StemBank) -> None:
    assert bank.of(("bass", "drums")).of(bank.names) == bank
    only = bank.of(("bass",))
    assert only.names == ("bass",)
    chunks = np.round(only.sample(np.random.default_rng(0), 50, 20) * SCALE).astype(int)
    assert set(np.unique(chunks // 1000)) == {10, 12, 13}
