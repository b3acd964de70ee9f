"""Speaker layouts are read, and stems get that of the mixture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoding import encode

from sepcli.media.audio import AudioReader
from sepcli.media.file_format import FileFormat
from sepcli.media.speakers import AMBISONIC, flac_mask, mask_of, names_of, set_flac_mask, set_wav_mask
from sepcli.media.stem_format import Encoding
from sepcli.media.stems import StemWriter


def levels(channels: int) -> np.ndarray:
    """A second of sines at 48,000 Hz of another level in every channel, (T, C)."""
    time = np.arange(48000)[:, None] / 48000
    return np.linspace(0.1, 0.6, channels) * np.sin(2 * np.pi * 60 * time)


def extensible(path: Path, channels: int, mask: int) -> None:
    soundfile.write(path, levels(channels), 48000, "PCM_16", format="WAVEX")
    with path.open("r+b") as file:
        set_wav_mask(file, mask)


def test_masks_have_names() -> None:
    assert names_of(0x60F) == ("FL", "FR", "FC", "LFE", "SL", "SR")
    assert mask_of(names_of(0x63F)) == 0x63F
    assert mask_of(("FL", "XX")) == 0
    assert mask_of(("FR", "FL")) == 0


@pytest.mark.parametrize(
    ("channels", "mask"), [(6, 0x60F), (6, 0x3F), (8, 0x63F), (3, 0xB), (4, 0x603), (6, 0), (4, AMBISONIC)]
)
def test_wav_stems_get_the_layout_of_the_mixture(tmp_path: Path, channels: int, mask: int) -> None:
    extensible(tmp_path / "mix.wav", channels, mask)
    with AudioReader(tmp_path / "mix.wav") as reader:
        assert reader.info.mask == mask
        block = reader.read(48000)
        with StemWriter([tmp_path / "stem.wav"], reader.info) as writer:
            writer.write(block[None])
    with AudioReader(tmp_path / "stem.wav") as stem:
        assert (stem.info.format, stem.info.mask) == ("WAVEX", mask)
        np.testing.assert_array_equal(stem.read(48000), block)


@pytest.mark.parametrize("channels", [3, 5, 6, 7, 8])
def test_vorbis_channels_come_in_the_order_of_speakers(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "x.ogg"
    encode(path, levels(channels), FileFormat("OGG", 48000, channels, "VORBIS", 200_000))
    with AudioReader(path) as reader:
        found = reader.read(48000)
    lfe = names_of(reader.info.mask).index("LFE") if channels > 5 else -1
    for channel, expected in enumerate(levels(channels).T):
        if channel != lfe:
            assert abs(found[channel].std() / expected.std() - 1) < 0.02


def test_opus_written_by_ffmpeg_is_read_in_the_order_of_speakers(tmp_path: Path) -> None:
    encode(tmp_path / "x.opus", levels(6), FileFormat("OPUS", 48000, 6, bitrate=400_000, mask=0x3F))
    with AudioReader(tmp_path / "x.opus") as reader:
        found = reader.read(48000)
    np.testing.assert_allclose(found.std(axis=1) / levels(6).std(axis=0), 1, atol=0.05)


def test_a_layout_in_flac_is_kept_in_wav(tmp_path: Path) -> None:
    import mutagen.flac

    path = tmp_path / "mix.flac"
    soundfile.write(path, levels(6), 48000)
    tags = mutagen.flac.FLAC(path)
    tags["WAVEFORMATEXTENSIBLE_CHANNEL_MASK"] = "0x60F"
    tags.save()
    with AudioReader(path) as reader:
        assert reader.info.mask == 0x60F
        for container in ("wav", "flac"):
            with StemWriter(
                [tmp_path / f"a.{container}"], reader.info, encoding=Encoding(container)
            ) as writer:
                writer.write(np.zeros((1, 6, 100)))
            with AudioReader(tmp_path / f"a.{container}") as stem:
                assert stem.info.mask == 0x60F


def test_a_flac_file_that_breaks_off_has_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    path.write_bytes(b"fLaC")
    assert flac_mask(path) == 0
    with path.open("r+b") as file, pytest.raises(OSError, match="comments"):
        set_flac_mask(file, 0x60F)
