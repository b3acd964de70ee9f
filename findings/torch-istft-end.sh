#!/usr/bin/env bash
# torch.istft with a Hann window and a hop of half its length amplifies the last samples a thousandfold or fails, if the signal's length is just below a multiple of the hop.
#
# Seen: for a length one below a multiple of the hop of 1,024, stft and istft in float32 miss a sample at the end by more than 1e-4 (elsewhere 1e-7), and with a mask of random gains below 1 the end of noise of 0.1 RMS peaks above 100, in float64 too. With n_fft=4096 and a hop of 2,048, istft raises RuntimeError for such a length. With a hop of a quarter of the window every length tried is exact.
# Memory would have guessed: center=True pads the signal so that every sample lies under two windows, and any length is resynthesized exactly.
# For separation: an estimate by masking a spectrogram can end in a click far above full scale; use a hop of a quarter of the window, or pad the mixture by a hop and cut the estimate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import torch

print("torch", torch.__version__)


def resynthesize(n_fft, hop, length, dtype):
    """Largest error of the round trip, of all and without the end, and peaks of a masked signal, without the end and in it."""
    torch.manual_seed(0)
    signal = 0.1 * torch.randn(length, dtype=torch.float64).to(dtype)
    options = {"n_fft": n_fft, "hop_length": hop, "window": torch.hann_window(n_fft, dtype=torch.float64).to(dtype)}
    spectrum = torch.stft(signal, return_complex=True, **options)
    error = (torch.istft(spectrum, length=length, **options) - signal).abs()
    masked = torch.istft(torch.rand(spectrum.shape, dtype=dtype) * spectrum, length=length, **options).abs()
    return [float(x.max()) for x in (error[:-n_fft], error[-n_fft:], masked[:-n_fft], masked[-n_fft:])]


results = {}
for n_fft, hop in ((2048, 1024), (2048, 512)):
    for rest in (0, hop // 2, hop - 16, hop - 1):
        for dtype in (torch.float32, torch.float64):
            found = results[hop, rest, dtype] = resynthesize(n_fft, hop, 40 * hop + rest, dtype)
            print("n_fft", n_fft, "hop", hop, f"length 40*{hop}+{rest}", dtype, "error: middle {:.0e} end {:.0e}, masked peak: middle {:.2f} end {:.2f}".format(*found))
assert all(found[1] < 1e-6 and found[3] < 1 for (hop, rest, _), found in results.items() if hop == 512 or rest <= 512)
assert results[1024, 1023, torch.float32][0] < 1e-6 and results[1024, 1023, torch.float32][1] > 1e-4
assert all(results[1024, 1023, dtype][3] > 100 for dtype in (torch.float32, torch.float64))
for dtype in (torch.float32, torch.float64):
    try:
        resynthesize(4096, 2048, 41 * 2048 - 1, dtype)
    except RuntimeError as error:
        assert "window overlap add min" in str(error)
        print("n_fft 4096 hop 2048 length 41*2048-1", dtype, "RuntimeError")
    else:
        raise SystemExit("n_fft=4096 with a hop of 2048 is accepted now")
END
