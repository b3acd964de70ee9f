#!/usr/bin/env bash
# FFmpeg's libraries (PyAV) read integers of 24 bits in words of 32, as WAVE_FORMAT_EXTENSIBLE describes them, as floats.
#
# Seen: libsndfile reads every sample exactly; FFmpeg chooses the codec pcm_f24le, and values are NaN or far above full scale.
# Memory would have guessed: both read wValidBitsPerSample = 24 in wBitsPerSample = 32 with the subformat PCM as integers.
# For separation: recorders and some audio interfaces write such files; a WAV file is best decoded by libsndfile first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6 soundfile==0.14.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import struct

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


values = np.random.default_rng(0).integers(-(2**23), 2**23, (1000, 2)).astype("<i4") << 8
form = struct.pack("<HHIIHHHHI", 0xFFFE, 2, 48000, 48000 * 8, 8, 32, 22, 24, 3)
form += struct.pack("<HHI", 1, 0, 0x00100000) + bytes.fromhex("800000aa00389b71")  # the subformat PCM
chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", values.nbytes) + values.tobytes()
with open("x.wav", "wb") as file:
    file.write(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)

found, codec, _ = decode("x.wav")
by_sndfile = sf.read("x.wav", dtype="float64")[0]
print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
print("libsndfile: largest error", np.abs(by_sndfile - values / 2**31).max())
print("FFmpeg: codec", codec, "NaN:", int(np.isnan(found).sum()), "largest value:", np.nanmax(np.abs(found)))
assert np.array_equal(by_sndfile, values / 2**31)
assert codec == "pcm_f24le" and not np.allclose(found, values / 2**31, atol=0.01)
END
