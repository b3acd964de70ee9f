#!/usr/bin/env bash
# libsndfile and FFmpeg decode the same MS ADPCM file to different samples, if libsndfile encoded it.
#
# Seen: samples are up to 0.02 of full scale apart, from the third on; libsndfile's are nearer to the original, by more than 1 dB. IMA ADPCM by libsndfile is the same in both. The reason is not known to us.
# Memory would have guessed: ADPCM decoding is integer arithmetic, and every decoder gives the same bits.
# For separation: field recordings and old sample libraries in MS ADPCM give estimates that depend on the reader; note the reader beside a figure.
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


noise = np.random.default_rng(1).standard_normal((44_100, 2))
signal = np.zeros_like(noise)
for n in range(1, len(noise)):
    signal[n] = 0.95 * signal[n - 1] + 0.03 * noise[n]
print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
gains = {}
for subtype in ("MS_ADPCM", "IMA_ADPCM"):
    sf.write("x.wav", signal, 44_100, subtype)
    readers = {"libsndfile": sf.read("x.wav")[0], "FFmpeg": decode("x.wav")[0] / 32768}
    snr = {
        name: 10 * np.log10(np.square(signal).sum() / np.square(found[: len(signal)] - signal).sum())
        for name, found in readers.items()
    }
    apart = np.abs(readers["libsndfile"] - readers["FFmpeg"]).max()
    print(subtype, "largest difference", round(float(apart), 4), "SNR in dB", {n: round(float(v), 2) for n, v in snr.items()})
    gains[subtype] = (apart, snr["libsndfile"] - snr["FFmpeg"])
assert gains["MS_ADPCM"][0] > 0.005 and gains["MS_ADPCM"][1] > 1
assert gains["IMA_ADPCM"][0] == 0
END
