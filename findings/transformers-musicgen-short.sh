#!/usr/bin/env bash
# MusicGen of transformers leaves the delay pattern out, without a word, when few tokens are generated: more tokens then give less audio.
#
# Seen: with four codebooks, max_new_tokens = 5 gives five frames of audio and 6 gives three. Up to 5, all codebooks of a frame are
#   sampled at once, independently given the frames before, which is not the distribution that the network was trained for.
# Memory would have guessed: the pattern of the paper always, thus max_new_tokens + 1 - 4 frames, or an error where that is none.
# For separation: short excerpts are scored and sampled by a pattern of one's own; the library's generation is no reference below 2 Q - 2 tokens.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 transformers==5.24.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import torch
import transformers
from transformers import EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, MusicgenForConditionalGeneration, T5Config

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
codec = EncodecConfig(target_bandwidths=[3.2], sampling_rate=4000, num_filters=2, hidden_size=4, upsampling_ratios=[5, 4], codebook_size=16)
decoder = MusicgenDecoderConfig(
    vocab_size=16, num_hidden_layers=1, ffn_dim=16, num_attention_heads=2, hidden_size=8, num_codebooks=4, pad_token_id=16, bos_token_id=16
)
text = T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
model = MusicgenForConditionalGeneration(MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)).eval()
frames = {}
for tokens in range(3, 10):
    audio = model.generate(**model.get_unconditional_inputs(num_samples=1), max_new_tokens=tokens, do_sample=True)
    frames[tokens] = audio.shape[-1] // codec.hop_length
    print(f"max_new_tokens={tokens}: {frames[tokens]} frames")
assert frames == {3: 3, 4: 4, 5: 5, 6: 3, 7: 4, 8: 5, 9: 6}
END
