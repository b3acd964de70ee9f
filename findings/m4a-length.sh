#!/usr/bin/env bash
# The length in the header of an M4A file by FFmpeg's muxer is rounded down to a millisecond, and decoding gives neither it nor the truth.
#
# Seen: of 100,001 samples at 44,100 Hz the header says 99,975, and decoding gives 100,352, with padding at the end.
# Memory would have guessed: the edit list holds the exact length, and the decoder cuts the padding that the encoder added, as it does for MP3.
# For separation: stems cut to the length of such a header lose up to a millisecond; the muxer option movie_timescale makes it exact, and the duration of the last packet is exact in any case.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
from fractions import Fraction

import av
import numpy as np


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


RATE, FRAMES = 44100, 100_001


def encode(path, **options):
    samples = 0.1 * np.random.default_rng(0).standard_normal((1, FRAMES)).astype(np.float32)
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for start in range(0, FRAMES, 1024):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


encode("plain.m4a")
encode("exact.m4a", movie_timescale=str(RATE))
print("av", av.__version__, "libavformat", av.library_versions["libavformat"])
for name, length in (("plain.m4a", 99_975), ("exact.m4a", FRAMES)):
    samples, _, header = decode(name)
    with av.open(name) as container:
        last = [(p.pts, p.duration) for p in container.demux(audio=0) if p.duration][-1]
    print(name, "written", FRAMES, "header", float(header), "decoded", len(samples), "end of the last packet", sum(last))
    assert round(header) == length and len(samples) == 100_352 and sum(last) == FRAMES
END
