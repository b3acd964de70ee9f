#!/usr/bin/env bash
# Current diffusers and transformers install beside torch 2.4 without a conflict, and cannot be used there: one fails at its import, the other says that PyTorch is absent.
#
# Seen: diffusers asks for no torch; its import ends in AttributeError: module 'torch' has no attribute 'accelerator' (from torch 2.6 on). transformers
#   imports, and hasattr(transformers, "MusicgenForCausalLM") is true, but the class is a stand-in that raises ImportError when it is called.
# Memory would have guessed: that pip refuses the pair, or ImportError at the import, which is what callers of optional packages catch.
# For separation: pretrained diffusion models and MusicGen as priors need torch 2.6; a check for the package alone passes, or ends in a traceback.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.4.1 numpy==2.4.6 diffusers==0.42.1 transformers==5.24.0
"$work/venv/bin/pip" check
cd "$work"
"$work/venv/bin/python" - <<'END'
import importlib.metadata as metadata

import torch

print("diffusers", metadata.version("diffusers"), "transformers", metadata.version("transformers"), "torch", torch.__version__)
asked = [line for line in metadata.requires("diffusers") or () if line.startswith("torch") and "extra" not in line]
print("diffusers asks of torch:", asked)
assert not asked
try:
    import diffusers
except AttributeError as error:
    print("import diffusers: AttributeError:", error)
else:
    raise SystemExit(f"diffusers {diffusers.__version__} was imported")

import transformers

print("transformers has MusicgenForCausalLM:", hasattr(transformers, "MusicgenForCausalLM"))
assert hasattr(transformers, "MusicgenForCausalLM")
try:
    transformers.MusicgenForCausalLM(transformers.MusicgenDecoderConfig())
except ImportError as error:
    print("ImportError:", " ".join(str(error).split())[:120])
else:
    raise SystemExit("a network was made")
END
