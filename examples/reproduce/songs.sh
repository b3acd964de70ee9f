#!/usr/bin/env bash
# The prior `songs`, its three score priors, and its figures: bash songs.sh SLAKH_DIR OUT_DIR
#
# SLAKH_DIR has the layout of Slakh2100 with train/, validation/ and test/, each stem of every song in one of the
# classes Drums, Bass and Other, as made by
#   examples/render_slakh.py MIDI --accompaniment --renderings 3 --rate 22050 --drumkits KIT...
# Training starts from the priors of SONGS_INIT, by default those of drums and bass alone, and for the other
# instruments from the one of drums just trained. About two hours on one CPU core; run again after an interruption, it
# goes on where it was. The bundled priors were then stored by
#   sepcli import-prior PRIOR --storage int8 --base slakh-drums --rank 48 --out NAME
# (songs-bass: --base slakh-bass; songs-other: --rank 80)
set -euo pipefail
data=${1:?SLAKH_DIR} out=${2:?OUT_DIR}
folder="$out/songs"
read -ra init <<< "${SONGS_INIT:-slakh-drums slakh-bass $folder/songs-drums}"
sources=(drums bass other) budgets=("${BUDGET:-30m}" "${BUDGET:-38m}" "${BUDGET:-33m}")
mkdir -p "$out"

# 1. A score prior per source, trained to reject the other two.
for n in 0 1 2; do
  source=${sources[n]} others=("${sources[@]:0:n}" "${sources[@]:n+1}")
  [ -f "$folder/songs-$source/card.toml" ] || sepcli train-prior --family denoiser --data "$data" \
    --sources "$source" --set interference="$(IFS=,; echo "${others[*]}")" --set songs=1 --set equalization=3 \
    --set validated=192 --init "${init[n]}" --out "$folder/songs-$source" --cache "$out/cache" --batch 12 \
    --learning-rate 5e-4 --preset "${PRESET:-small}" --time-budget "${budgets[n]}" --resume \
    --note "${NOTE:-recordings in the layout of Slakh2100}"
done
python "$(dirname "$0")/combine_priors.py" "$folder" songs-drums songs-bass songs-other \
  --title "Songs: drums, bass and all other instruments, a denoiser of each, 22,050 Hz"

# 2. Figures on whole songs of the test split, stems as they are: SDR and improvement, beside mixture/3 and masks.
[ -f "$out/songs.json" ] || sepcli evaluate --dataset slakh --data "$data" --split test --prior "$folder" \
  --pairs "${SONGS:-16}" --metric sdr,si-sdr,si-sdri --out "$out/songs.json"
