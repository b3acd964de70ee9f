#!/usr/bin/env bash
# Do flows tell instruments apart? One flow per source of real or rendered songs, then how likely each finds segments of
# every source (cross-NOISE.json) and a heat map of that (cross-NOISE.png): bash music-likelihood.sh DATA_DIR OUT_DIR
#
# DATA_DIR is MUSDB18, in WAV or MP4, or has Slakh2100's layout. Training takes FLOW_BUDGET a source, decoding and the
# figures come on top; run again after an interruption, it goes on where it was. Settings, by environment:
#   SOURCES      classes of Slakh or stems of MUSDB18, separated by blanks (drums bass)
#   ITEMS        a folder of STEM/ITEM files to ask about (segments of DATA_DIR's test songs, or else validation songs)
#   CROSS_PAIRS  segments of each source (50)
#   NOISES       noise under which they are looked at, besides the flows' own (0 0.02 0.1)
#   PRESET, FLOW_BUDGET, RATE   of the flows: size, time for each, learning rate (small, 6m, 3e-3)
set -euo pipefail
data=${1:?DATA_DIR} out=${2:?OUT_DIR}
mkdir -p "$out"

priors=()
for source in ${SOURCES:-drums bass}; do
  [ -f "$out/$source/card.toml" ] || sepcli train-prior --family flow --data "$data" --sources "$source" \
    --out "$out/$source" --cache "$out/cache" --preset "${PRESET:-small}" --time-budget "${FLOW_BUDGET:-6m}" \
    --learning-rate "${RATE:-3e-3}" --resume
  priors+=(--prior "$out/$source")
done
for noise in ${NOISES:-0 0.02 0.1}; do
  [ -f "$out/cross-$noise.json" ] || sepcli evaluate --metric cross-likelihood --data "${ITEMS:-$data}" "${priors[@]}" \
    --noise "$noise" --pairs "${CROSS_PAIRS:-50}" --cache "$out/cache" \
    --out "$out/cross-$noise.json" --plot "$out/cross-$noise.png"
done
