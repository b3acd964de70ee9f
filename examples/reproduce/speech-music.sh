#!/usr/bin/env bash
# The prior `speech-music`, its two score priors, and its figures: bash speech-music.sh SET MEASURE OUT_DIR
#
# SET and MEASURE have the layout of Slakh2100, stems Speech and Music, as made by examples/speech_and_music.py:
#   ... SET --split train --versions 4 --speech VOICES... --music PIECES   (and --split validation, one version)
#   ... MEASURE --split test --seconds 12 --tracks 16 --ratio 0 --ratio 5 --ratio -5 --speech VOICES... --music PIECES
# with voices and pieces in MEASURE that are in no other split. About two and a half hours on one CPU core; run again
# after an interruption, it goes on where it was.
set -euo pipefail
data=${1:?SET} measured=${2:?MEASURE} out=${3:?OUT_DIR}
folder="$out/speech-music"
mkdir -p "$out"

# 1. A score prior per source, trained to reject the other one.
for source in speech music; do
  other=$([ "$source" = speech ] && echo music || echo speech)
  [ -f "$folder/$source/denoiser/config.json" ] || sepcli train-prior --family denoiser --data "$data" \
    --sources "$source" --set interference="$other" --set songs=1 --set equalization=3 --set validated="${VALIDATED:-192}" \
    --set width="${WIDTH:-192}" --out "$folder/$source" --cache "$out/cache" --batch 12 --preset "${PRESET:-small}" \
    --time-budget "${BUDGET:-75m}" --resume --storage int8 --note "${NOTE:-recordings in the layout of Slakh2100}"
done
python "$(dirname "$0")/combine_priors.py" "$folder" speech music \
  --title "Speech and music: a denoiser of each, 22,050 Hz"

# 2. Figures on voices and pieces that are in no training: SDR and improvement, beside mixture/2 and masks.
[ -f "$out/speech-music.json" ] || sepcli evaluate --dataset slakh --data "$measured" --split test --prior "$folder" \
  --pairs "${PAIRS:-48}" --set steps=4 --set sigma_max=0.03 --set sigma_min=0.003 --set rho=2 --set eta=0.5 --metric sdr,si-sdri --out "$out/speech-music.json"
