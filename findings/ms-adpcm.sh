#!/usr/bin/env bash
# libsndfile and FFmpeg decode the same MS ADPCM file to different samples, because they round the prediction differently.
#
# Seen: a reference decoder that rounds the prediction down (a shift by eight bits) gives libsndfile's samples exactly; one that rounds it toward zero (a division by 256) gives FFmpeg's. The two are up to 0.04 of full scale apart. The file was encoded by libsndfile, whose own samples are nearer to the original, by more than 1 dB.
# Memory would have guessed: ADPCM decoding is integer arithmetic, and every decoder gives the same bits, as for IMA ADPCM.
# For separation: field recordings and old sample libraries in MS ADPCM give estimates that depend on the reader; record which reader decoded the mixture.
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

COEFFICIENTS = ((256, 0), (512, -256), (0, 0), (192, 64), (240, 0), (460, -208), (392, -232))
STEPS = (230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230)
ROUNDINGS = {"down": lambda value: value >> 8, "toward zero": lambda value: int(value / 256)}


def chunk(data, name):
    """Body of a chunk of a WAV file."""
    start = data.index(name) + 8
    return data[start : start + int.from_bytes(data[start - 4 : start], "little")]


def reference(data, block_size, rounded):
    """Samples of a mono MS ADPCM stream, with the prediction rounded by ``rounded``."""
    samples = []
    for start in range(0, len(data), block_size):
        block = data[start : start + block_size]
        index, delta, last, before = struct.unpack("<Bhhh", block[:7])
        samples += [before, last]
        for code in (half for byte in block[7:] for half in (byte >> 4, byte & 15)):
            prediction = rounded(last * COEFFICIENTS[index][0] + before * COEFFICIENTS[index][1])
            value = prediction + ((code ^ 8) - 8) * delta
            last, before = max(-32768, min(32767, value)), last
            delta = max(16, STEPS[code] * delta >> 8)
            samples.append(last)
    return np.array(samples)


def by_ffmpeg(path):
    """Samples of a mono file by FFmpeg's libraries."""
    with av.open(path) as container:
        return np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])


noise = np.random.default_rng(1).standard_normal(44_100)
signal = np.zeros_like(noise)
for n in range(1, len(noise)):
    signal[n] = 0.95 * signal[n - 1] + 0.03 * noise[n]
print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
sf.write("x.wav", signal, 44_100, "MS_ADPCM")
with open("x.wav", "rb") as file:
    content = file.read()
block_size = int.from_bytes(chunk(content, b"fmt ")[12:14], "little")
readers = {"libsndfile": sf.read("x.wav", dtype="int16")[0].astype(int), "FFmpeg": by_ffmpeg("x.wav").astype(int)}
references = {name: reference(chunk(content, b"data"), block_size, rounded) for name, rounded in ROUNDINGS.items()}
snr, apart = {}, {}
for reader, found in readers.items():
    snr[reader] = 10 * np.log10(np.square(signal).sum() / np.square(found[: len(signal)] / 32768 - signal).sum())
    for rounding, expected in references.items():
        apart[reader, rounding] = int(np.abs(found - expected).max())
    print(reader, "SNR in dB", round(float(snr[reader]), 2), {r: apart[reader, r] for r in references}, "steps of 16 bits from the reference")
largest = np.abs(readers["libsndfile"] - readers["FFmpeg"]).max() / 32768
print("largest difference of the two", round(float(largest), 4))
assert apart["libsndfile", "down"] == apart["FFmpeg", "toward zero"] == 0
assert largest > 0.005 and snr["libsndfile"] - snr["FFmpeg"] > 1
sf.write("x.wav", signal, 44_100, "IMA_ADPCM")
assert np.array_equal(sf.read("x.wav", dtype="int16")[0], by_ffmpeg("x.wav"))
END
