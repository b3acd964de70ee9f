#!/usr/bin/env bash
# libsndfile opens a FLAC file whose header leaves the number of samples open, and fails in the middle of reading it.
#
# Seen: sf.info gives 2^63 - 1 frames, sf.read cannot allocate them, and reading by blocks raises in the last block, with the samples before it.
# Memory would have guessed: reading by blocks ends with the last sample, as for other formats of unknown length (RFC 9639, section 8.2: 0 means unknown).
# For separation: encoders that write to a pipe leave the length open; FFmpeg's decoder reads such files exactly.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6 soundfile==0.14.0
cd "$work"
"$work/venv/bin/python" - <<'END'
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


FRAMES = 50_000
values = np.random.default_rng(0).integers(-20000, 20000, (FRAMES, 1)).astype(np.int16)
sf.write("x.flac", values, 44100)
data = bytearray(open("x.flac", "rb").read())
data[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO
data[22:26] = bytes(4)
with open("x.flac", "wb") as file:
    file.write(data)

error, count = "none", 0
with sf.SoundFile("x.flac") as file:
    print("libsndfile", sf.__libsndfile_version__, "frames:", file.frames)
    try:
        while len(block := file.read(16384)):
            count += len(block)
    except sf.LibsndfileError as caught:
        error = str(caught)
found = decode("x.flac")[0]
print("libsndfile: read", count, "then:", error, "| FFmpeg: read", len(found), "of", FRAMES, "av", av.__version__)
assert error != "none" and count < FRAMES
assert np.array_equal(found, values)
END
