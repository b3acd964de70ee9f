#!/usr/bin/env bash
# libsndfile stops early in an MP3 file of variable bit rate that has no Xing tag.
#
# Seen: of 6 s it decodes about 2 s, without an error: the number of frames is an estimate from the size of the first, loud, frames.
# Memory would have guessed: without a length, the decoder reads to the end of the file, as FFmpeg does.
# For separation: recorders and radio archives write such files; a tool that trusts the number cuts two thirds of the song and reports success.
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


RATE = 44100
rng = np.random.default_rng(0)
signal = np.concatenate([rng.uniform(-0.9, 0.9, RATE), 0.003 * rng.standard_normal(5 * RATE)])
with sf.SoundFile("tagged.mp3", "w", RATE, 1, bitrate_mode="VARIABLE", compression_level=0.3) as file:
    file.write(signal)
data = open("tagged.mp3", "rb").read()
tag = max(data.find(b"Xing"), data.find(b"Info"))
with open("bare.mp3", "wb") as file:  # the same stream without the frame that announces its length
    file.write(data[data.index(data[:2], tag) :])

by_sndfile, by_ffmpeg = len(sf.read("bare.mp3")[0]), len(decode("bare.mp3")[0])
print("av", av.__version__, "libsndfile", sf.__libsndfile_version__)
print("written", len(signal), "with the tag:", len(sf.read("tagged.mp3")[0]), "without: libsndfile", by_sndfile, "FFmpeg", by_ffmpeg)
assert len(sf.read("tagged.mp3")[0]) == len(signal)
assert by_sndfile < len(signal) / 2 and len(signal) <= by_ffmpeg < len(signal) + 3 * 1152
END
