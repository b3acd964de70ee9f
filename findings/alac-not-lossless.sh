#!/usr/bin/env bash
# libsndfile's ALAC is not lossless for packets that hardly compress: it writes (and, at 32 bits, reads) them wrongly, without an error.
#
# Seen: at 16 bits everything is exact, and at every depth so is a chord with a little noise. Stereo at 20 bits is damaged already for correlated noise; loud bursts of noise, as of a snare drum, are damaged in stereo at 24 and 32 bits and in mono at 32 bits, whose file FFmpeg still decodes exactly. The errors are as large as the signal; libsndfile at most prints "compressed frame too big".
# Memory would have guessed: a lossless format stores a packet as it is if it does not compress.
# For separation: stems of drums and of noise-like sources at 24 bits may be ruined in CAF; use FLAC or WAV, or read back what was written.
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


def damaged(signal, bits, channels):
    """Share of the samples of (T, 2) that differ when written in so many bits and read again, and the largest error."""
    values = np.rint(signal[:, :channels] * (2 ** (bits - 1) - 1)).astype(np.int32) << (32 - bits)
    sf.write("x.caf", values, 44_100, f"ALAC_{bits}")
    errors = np.abs(sf.read("x.caf", dtype="int32", always_2d=True)[0] / 2**31 - values / 2**31).max(axis=1)
    return round(float((errors > 0).mean()), 3), round(float(errors.max()), 3)


rng, time = np.random.default_rng(0), np.arange(44_100) / 44_100
chord = sum(np.sin(2 * np.pi * k * f * time) / k for f in (220, 277.2, 329.6) for k in range(1, 9)) * np.exp(-2 * (time % 0.5))
noise = rng.standard_normal((44_100, 2))
correlated = np.zeros_like(noise)
for n in range(1, len(noise)):
    correlated[n] = 0.95 * correlated[n - 1] + noise[n]
hits = noise * np.exp(-20 * (time % 0.25))[:, None]
signals = {
    "chord": 0.5 * np.stack([chord, np.roll(chord, 30)], axis=1) / np.abs(chord).max() + 1e-3 * noise,
    "correlated noise": 0.9 * correlated / np.abs(correlated).max(),
    "drum hits": 0.9 * hits / np.abs(hits).max(),
}
expected = {"chord": set(), "correlated noise": {(20, 2)}, "drum hits": {(20, 2), (24, 2), (32, 1), (32, 2)}}
print("av", av.__version__, "libsndfile", sf.__libsndfile_version__, flush=True)
for name, signal in signals.items():
    found = {(bits, channels): damaged(signal, bits, channels) for bits in (16, 20, 24, 32) for channels in (1, 2)}
    wrong = {layout: (share, error) for layout, (share, error) in found.items() if error}
    print(name, "(share of damaged samples, largest error) by (bits, channels):", wrong, flush=True)
    assert set(wrong) == expected[name] and all(error > 0.5 for _, error in wrong.values())

damaged(signals["drum hits"], 32, 1)
written = np.rint(signals["drum hits"][:, 0] * (2**31 - 1)).astype(np.int32)
with av.open("x.caf") as container:
    by_ffmpeg = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
print("32 bits, mono, by FFmpeg: all", len(by_ffmpeg), "decoded samples are exact:", np.array_equal(by_ffmpeg, written[: len(by_ffmpeg)]))
assert len(by_ffmpeg) > 40_000 and np.array_equal(by_ffmpeg, written[: len(by_ffmpeg)])
END
