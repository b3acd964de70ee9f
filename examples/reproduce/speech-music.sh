#!/usr/bin/env bash
# The prior `speech-music`, its two score priors, and its figures: bash speech-music.sh SET MEASURE OUT_DIR
#
# SET and MEASURE have the layout of Slakh2100, stems Speech and Music, as made by examples/speech_and_music.py:
#   ... SET --split train --versions 4 --speech VOICES... --music PIECES   (and --split validation, one version)
#   ... MEASURE --split test --seconds 12 --tracks 16 --ratio 0 --ratio 5 --ratio -5 --speech VOICES... --music PIECES
# with voices and pieces in MEASURE that are in no other split. About three hours on one CPU core; run again after an
# interruption, it goes on where it was. Both are trained from INIT, by default the prior of what songs have beside drums
# and bass: first all weights, then their differences from INIT, of rank RANK. Of the bundled priors, the first training
# was stopped halfway through 85 minutes, so that its learning rate was higher. They were stored by
#   sepcli import-prior PRIOR --storage int8 --base songs-other --rank 32 --out NAME
set -euo pipefail
data=${1:?SET} measured=${2:?MEASURE} out=${3:?OUT_DIR}
init=${INIT:-songs-other} rank=${RANK:-32} folder="$out/speech-music"
mkdir -p "$out"

train() {  # SOURCE FOLDER INIT BUDGET OPTION...: once, or the rest of it
  local other=speech
  [ "$1" = speech ] && other=music
  [ -f "$2/card.toml" ] || sepcli train-prior --family denoiser --data "$data" --sources "$1" --init "$3" \
    --set interference="$other" --set songs=1 --set equalization=3 --set validated="${VALIDATED:-192}" --out "$2" \
    --cache "$out/cache" --batch 12 --preset "${PRESET:-small}" --time-budget "$4" --resume \
    --note "${NOTE:-recordings in the layout of Slakh2100}" "${@:5}"
}

# 1. A score prior per source, trained to reject the other one.
for source in speech music; do
  train "$source" "$out/whole/$source" "$init" "${BUDGET:-43m}" --learning-rate 1e-3
  train "$source" "$folder/$source" "$out/whole/$source" "${BUDGET:-40m}" --learning-rate 7e-4 \
    --set rank="$rank" --set base="$init"
done
python "$(dirname "$0")/combine_priors.py" "$folder" speech music \
  --title "Speech and music: a denoiser of each, 22,050 Hz"
python "$(dirname "$0")/finish_card.py" "$folder" --like speech-music

# 2. Figures on voices and pieces that are in no training: SDR and improvement, beside mixture/2 and masks.
[ -f "$out/speech-music.json" ] || sepcli evaluate --dataset slakh --data "$measured" --split test --prior "$folder" \
  --pairs "${PAIRS:-48}" --metric sdr,si-sdri --out "$out/speech-music.json"
