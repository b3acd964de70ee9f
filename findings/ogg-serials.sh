#!/usr/bin/env bash
# libsndfile (Vorbis, Opus) and FFmpeg's libraries (Opus) give Ogg streams a random serial number, so that equal runs write different files.
#
# Seen: two files of the same samples, written in one process, differ, and only in the serial number and the checksum of every page.
# Memory would have guessed: encoders are deterministic, as those of FLAC, MP3 and M4A are with equal versions.
# For separation: lossy stems cannot be compared by hash, unless serial numbers are set afterwards and checksums computed anew (RFC 3533).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6 soundfile==0.14.0
cd "$work"
"$work/venv/bin/python" - <<'END'
from fractions import Fraction

import av
import numpy as np
import soundfile as sf

RATE = 48_000
signal = 0.1 * np.random.default_rng(0).standard_normal((RATE, 1))


def by_sndfile(path, subtype):
    with sf.SoundFile(path, "w", RATE, 1, subtype, format="OGG") as file:
        for start in range(0, RATE, 4096):
            file.write(signal[start : start + 4096])


def by_ffmpeg(path, codec):
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        stream.codec_context.open()
        size = stream.codec_context.frame_size
        form = next(f.name for f in stream.codec_context.codec.audio_formats if f.name in ("flt", "fltp"))
        for start in range(0, RATE, size):
            values = signal[start : start + size].astype(np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), form, "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def without_serials(data):
    """The pages of an Ogg file without serial numbers and checksums (RFC 3533, section 6)."""
    pages, position = [], 0
    while position < len(data):
        lengths = data[position + 27 : position + 27 + data[position + 26]]
        end = position + 27 + len(lengths) + sum(lengths)
        page = bytearray(data[position:end])
        page[14:18] = page[22:26] = bytes(4)
        pages.append(bytes(page))
        position = end
    return pages


print("av", av.__version__, "libavformat", av.library_versions["libavformat"], "libsndfile", sf.__libsndfile_version__)
for name, write, codec, random in (
    ("libsndfile.ogg", by_sndfile, "VORBIS", True),
    ("libsndfile.opus", by_sndfile, "OPUS", True),
    ("ffmpeg.opus", by_ffmpeg, "libopus", True),
    ("ffmpeg.mp3", by_ffmpeg, "libmp3lame", False),
):
    files = []
    for _ in range(2):
        write(name, codec)
        files.append(open(name, "rb").read())
    different = files[0] != files[1]
    print(name, "different" if different else "equal")
    assert different == random
    assert not different or without_serials(files[0]) == without_serials(files[1])
END
