#!/usr/bin/env bash
# libsndfile and FFmpeg decode the same G.721 file to different samples, since each leaves the Recommendation in one place.
#
# Seen: a reference decoder gives libsndfile's samples exactly if the products in its predictor lack their rounding constant (48), and FFmpeg's exactly if it mixes the fast and the slow step size with another rounding. In WAV, FFmpeg also takes the two codes of a byte in the other order. Of files by libsndfile, FFmpeg's samples are 9 dB (AU) and 23 dB (WAV) worse than libsndfile's.
# Memory would have guessed: G.721 (G.726 at 32 kbit/s) is specified to the bit, and every decoder gives the same samples.
# For separation: old speech recordings in G.721 give estimates that depend on the reader; decode such a file with the library that encoded it.
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

LEVELS, SCALES, RATES = (-2048, 4, 135, 213, 273, 323, 373, 425), (-12, 18, 41, 64, 112, 198, 355, 1122), (0, 0, 0, 1, 1, 1, 3, 7)


def clip(value, low, high):
    return max(low, min(high, value))


def floating(negative, magnitude):
    """Sign, exponent and mantissa of six bits."""
    exponent = magnitude.bit_length()
    return negative, exponent, (magnitude << 6) >> exponent if magnitude else 32


def product(coefficient, value, constant):
    """Product of a coefficient and a number in floating point, whose mantissa is rounded with ``constant``."""
    negative, exponent, mantissa = floating(coefficient < 0, abs(coefficient) & 0x1FFF)
    mantissa, shift = (mantissa * value[2] + constant) >> 4, exponent + value[1] - 19
    magnitude = (mantissa << shift) & 32767 if shift >= 0 else mantissa >> -shift
    return -magnitude if negative != value[0] else magnitude


def reference(codes, constant=48, exact_mix=True):
    """Samples of 16 bits of codes of 4 bits (ITU-T G.726 at 32 kbit/s, linear output)."""
    fast, slow, speed, short_mean, long_mean, tone = 544, 34816, 0, 0, 0, False
    poles, zeros, signs, samples = [0, 0], [0] * 6, [0, 0], []
    values, differences = [floating(False, 0)] * 2, [floating(False, 0)] * 6
    for code in codes:
        negative, index = code > 7, 15 - code if code > 7 else code
        by_zeros = sum(product(c >> 2, v, constant) for c, v in zip(zeros, differences, strict=True))
        estimate = (by_zeros + sum(product(c >> 2, v, constant) for c, v in zip(poles, values, strict=True))) >> 1
        gap, weight = fast - (slow >> 6), min(speed >> 2, 64)
        step = (slow >> 6) + ((gap * weight + 63 * (gap < 0)) >> 6) if exact_mix else (slow + gap * weight) >> 6
        log = LEVELS[index] + (step >> 2)
        magnitude = 0 if log < 0 else ((128 + (log & 127)) << 7) >> (14 - ((log >> 7) & 15))
        difference = -magnitude if negative else magnitude
        value, partial = estimate + difference, difference + (by_zeros >> 1)
        threshold = 31 << 10 if slow >> 15 > 9 else (32 + ((slow >> 10) & 31)) << (slow >> 15)
        transition = tone and magnitude > (threshold + (threshold >> 1)) >> 1
        fast = clip(step + ((32 * SCALES[index] - step) >> 5), 544, 5120)
        slow += fast + (-slow >> 6)
        sign = int(partial < 0)
        if transition:
            poles, zeros = [0, 0], [0] * 6
        else:
            first, second = poles[0] - (poles[0] >> 8), poles[1] - (poles[1] >> 7)
            if partial:
                pull = poles[0] if sign != signs[0] else -poles[0]
                second += -256 if pull < -8191 else 255 if pull > 8191 else pull >> 5
                second = clip(second + (-128 if sign != signs[1] else 128), -12288, 12288)
                first += 192 if sign == signs[0] else -192
            poles = [clip(first, second - 15360, 15360 - second), second]
            if magnitude:
                zeros = [c - (c >> 8) + (128 if v[0] == negative else -128) for c, v in zip(zeros, differences, strict=True)]
            else:
                zeros = [c - (c >> 8) for c in zeros]
        differences = [floating(negative, magnitude), *differences[:5]]
        values, signs = [floating(value < 0, abs(value)), values[0]], [sign, signs[0]]
        tone = not transition and poles[1] < -11776
        short_mean += (512 * RATES[index] - short_mean) >> 5
        long_mean += (2048 * RATES[index] - long_mean) >> 7
        varies = step < 1536 or tone or abs(4 * short_mean - long_mean) >= long_mean >> 3
        speed = 256 if transition else speed + ((512 * varies - speed) >> 4)
        samples.append(clip(4 * value, -32768, 32767))
    return np.array(samples)


def by_ffmpeg(path):
    """Samples of a mono file by FFmpeg's libraries, and the codec's name."""
    with av.open(path) as container:
        name = container.streams.audio[0].codec_context.name
        return np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)]), name


def coded_bytes(path):
    """Body of the data of an AU or WAV file."""
    with open(path, "rb") as file:
        content = file.read()
    if content.startswith(b".snd"):
        return content[int.from_bytes(content[4:8], "big") :]
    start = content.index(b"data") + 8
    return content[start : start + int.from_bytes(content[start - 4 : start], "little")]


noise = np.random.default_rng(1).standard_normal(8000)
signal = np.zeros_like(noise)
for n in range(1, len(noise)):
    signal[n] = 0.95 * signal[n - 1] + 0.03 * noise[n]


def snr(samples):
    return round(float(10 * np.log10(np.square(signal).sum() / np.square(samples[: len(signal)] / 32768 - signal).sum())), 1)


print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
for name in ("x.au", "x.wav"):
    sf.write(name, signal, 8000, "G721_32")
    own, (other, codec) = sf.read(name, dtype="int16")[0], by_ffmpeg(name)
    low = [code for byte in coded_bytes(name) for code in (byte & 15, byte >> 4)]
    order = low if name == "x.au" else [code for byte in coded_bytes(name) for code in (byte >> 4, byte & 15)]
    exact, without_constant, other_mix = reference(low), reference(low, constant=0), reference(order, exact_mix=False)
    print(name, "SNR in dB: reference", snr(exact), "libsndfile", snr(own), "FFmpeg", snr(other), "by codec", codec)
    print("  equal: libsndfile and no constant", np.array_equal(own, without_constant), "FFmpeg and the other mix", np.array_equal(other, other_mix))
    assert np.array_equal(own, without_constant) and np.array_equal(other, other_mix)
    assert not np.array_equal(own, exact) and not np.array_equal(other, exact) and snr(own) - snr(other) > 5
END
