#!/usr/bin/env bash
# FFmpeg's libraries (PyAV) give too many samples of a short Ogg Vorbis file, if it is mono or stereo.
#
# Seen: of 10,000 samples 10,112 are decoded; of three channels, or of 100,000 samples, it is exact; the header's length is right in all.
# Memory would have guessed: the last page's granule position cuts the end of any stream, as libsndfile does.
# For separation: samples of drum kits and short test chunks are such files; estimate and reference then differ in length by a few milliseconds.
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


print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
for channels, frames, expected in ((1, 10_000, 10_112), (2, 10_000, 10_112), (3, 10_000, 10_000), (2, 100_000, 100_000)):
    signal = 0.1 * np.random.default_rng(0).standard_normal((frames, channels))
    with sf.SoundFile("x.ogg", "w", 48_000, channels, "VORBIS") as file:
        for start in range(0, frames, 4096):
            file.write(signal[start : start + 4096])
    samples, _, header = decode("x.ogg")
    print(channels, "channels, written", frames, "libsndfile", sf.info("x.ogg").frames, "FFmpeg", len(samples), "header", float(header))
    assert sf.info("x.ogg").frames == frames == header and len(samples) == expected
END
