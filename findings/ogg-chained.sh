#!/usr/bin/env bash
# Two readers of a chained Ogg file: libsndfile stops after its first link, FFmpeg adds samples between the links.
#
# Seen: of two links of 48,000 samples libsndfile gives 48,000 without an error; FFmpeg (PyAV) 96,128, the second link late by 128.
# Memory would have guessed: both give 96,000: every link of Ogg Vorbis (RFC 3533) has its own granule position, which says its exact length.
# For separation: recordings of web radio are chained; decoding link by link, each as a file of its own, gives the exact sum.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6 soundfile==0.14.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import io

import av
import numpy as np
import soundfile as sf


def decode(path):
    """Samples (T, C) by FFmpeg's libraries, the codec's name, and the length in the header."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        blocks = []
        for frame in container.decode(stream):
            values = frame.to_ndarray()
            blocks.append(values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels))
        length = stream.duration and stream.duration * stream.time_base * stream.rate
        return np.concatenate(blocks), stream.codec_context.name, length


signal = 0.1 * np.random.default_rng(0).standard_normal((48_000, 2))
sf.write("one.ogg", signal, 48_000, subtype="VORBIS")
one = open("one.ogg", "rb").read()
with open("two.ogg", "wb") as file:
    file.write(one + one)

expected = np.concatenate([sf.read(io.BytesIO(one))[0]] * 2)
by_sndfile, by_ffmpeg = sf.read("two.ogg")[0], decode("two.ogg")[0]
late = len(by_ffmpeg) - len(expected)
error = np.abs(by_ffmpeg[48_000 + late :] - expected[48_000:]).max()
print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
print("expected", len(expected), "libsndfile", len(by_sndfile), "FFmpeg", len(by_ffmpeg), "error of the second link, moved:", error)
assert len(by_sndfile) == 48_000
assert late == 128 and error < 1e-4
END
