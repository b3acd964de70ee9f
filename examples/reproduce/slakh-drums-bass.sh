#!/usr/bin/env bash
# The prior `slakh-drums-bass` in both engines and its figures, from Slakh2100 or songs that examples/render_slakh.py
# --other has put into its layout (train, validation, test): bash slakh-drums-bass.sh SLAKH_DIR OUT_DIR
#
# About fourteen hours on two CPU cores, six of them training (450 pairs, 16 songs of three minutes; computed from the
# budgets and the cost of an evaluation, not measured); run again after an interruption, it goes on where it was. Where
# there is a GPU, set PRESET=base, a BUDGET of your own for each of the eight trainings, and TRAIN="--batch 64". Fewer
# PAIRS and SONGS cost less; pairs that lie in OUT_DIR/pairs/test are used as they are. Row `sepcli raw` of a report is
# what was drawn first, `sepcli` has Wiener masks; in lass-SAMPLER.json it is the paper's LASS, without latent and
# context likelihood and by one draw, in lass-SAMPLER-context.json one draw with both. cost/NAME/SONG/run.json has
# `seconds` of sound and those `elapsed`. The priors that come with sepcli were trained by these commands, but in
# several runs, each from the weights of the one before (see their cards).
set -euo pipefail
data=${1:?SLAKH_DIR} out=${2:?OUT_DIR}
codec=${BUDGET:-28m} prior=${BUDGET:-34m} latent=${BUDGET:-4m} context=${BUDGET:-40m}
denoiser=${SCORE_BUDGET:-${BUDGET:-90m}} low=${LOW_BUDGET:-${BUDGET:-32m}}
examples=$(dirname "$0")/.. folder="$out/slakh-drums-bass"
mkdir -p "$out/mixes"

for mix in "$data"/test/*/mix.*; do  # a missing split is noticed before hours of training
  track=$(basename "$(dirname "$mix")")
  ln -sfn "$(realpath "$mix")" "$out/mixes/$track.${mix##*.}"
done
songs=("$out/mixes"/*)
first=$(basename "${songs[0]%.*}")

# 1. Both engines, into one folder; the default is the one that is better on validation pairs.
train() {  # FAMILY FOLDER PART BUDGET OPTION...: once, or the rest of it
  # shellcheck disable=SC2086 # words on purpose
  grep -qsxF "[parts.$3]" "$2/card.toml" || sepcli train-prior --family "$1" --data "$data" --out "$2" --cache "$out/cache" \
    --preset "${PRESET:-small}" --note "${NOTE:-recordings in the layout of Slakh2100}" --time-budget "$4" --resume \
    "${@:5}" ${TRAIN:-}
}
train vqvae "$folder" codec "$codec"
train transformer "$folder" transformer "$prior"
train latent "$folder" latent "$latent"
train context "$folder" context "$context" --batch 12 --tokens 256
[ -f "$folder/table/table.safetensors" ] || sepcli build-likelihood --prior "$folder" --data "$data" \
  --cache "$out/cache" --time-budget "${COUNTING:-7m}" --resume
other() { [ "$1" = drums ] && echo bass || echo drums; }
compile=${COMPILE-$(command -v g++ > /dev/null && echo --set compile=1 || true)}
for source in drums bass; do  # each is trained to reject the other's clean recordings, then on its lowest bands
  words=(--sources "$source" --set interference="$(other "$source")" --batch 12)
  train denoiser "$out/first/$source" denoiser "$denoiser" "${words[@]}" --learning-rate 7e-4
  # shellcheck disable=SC2086 # a word or none
  train denoiser "$folder/$source" denoiser "$low" "${words[@]}" --learning-rate 1e-3 --init "$out/first/$source" \
    --set low_bands=1 $compile
done
python "$examples/reproduce/two_engines.py" "$folder" --score drums bass --like slakh-drums-bass

cut_pairs() {  # SPLIT COUNT
  [ -d "$out/pairs/$1" ] || { python "$examples/make_pairs.py" "$data" --split "$1" --pairs "$2" \
    --cache "$out/cache" --out "$out/pairs/$1.part" && mv "$out/pairs/$1.part" "$out/pairs/$1"; }
}
evaluate() {  # NAME SPLIT OPTION...
  [ -f "$out/$1.json" ] || sepcli evaluate --dataset pairs --data "$out/pairs/$2" --prior "$folder" \
    --metric sdr,si-sdr,si-sdri --pairs "${PAIRS:-450}" --out "$out/$1.json" "${@:3}"
}
cut_pairs validation "${VALIDATION_PAIRS:-50}"
for engine in lass score; do
  evaluate "validation-$engine" validation --method "$engine" --batch 50
done
python "$examples/reproduce/two_engines.py" "$folder" \
  --choose lass="$out/validation-lass.json" score="$out/validation-score.json"

# 2. Figures on pairs of the test split, and what a second of sound costs on the first of its songs.
cut_pairs test "${PAIRS:-450}"
measure() {  # NAME OPTION...
  evaluate "$1" test "${@:2}"
  [ -f "$out/cost/$1/$first/run.json" ] || sepcli separate "${songs[0]}" --prior "$folder" --out "$out/cost/$1" \
    --overwrite "${@:2}"
}
evaluate lass test --method lass --method hpss --batch 50
measure lass --method lass
for sampler in ${SAMPLERS-greedy beam ancestral top-k}; do
  one=(--method lass --sampler "$sampler" --samples 1 --batch 50 --pairs "${SAMPLER_PAIRS:-50}")
  [ "$sampler" != beam ] || one+=(--set width=4 --batch 10)
  evaluate "lass-$sampler" test "${one[@]}" --set latent=0 --set context=0 --set shortlist=0
  evaluate "lass-$sampler-context" test "${one[@]}"
done
measure score --method score
for steps in ${STEPS-20 50 100 200}; do
  measure "projected-$steps" --method score --sampler projected --set steps="$steps"
done
for draws in ${DRAWS-2 4 8}; do
  measure "score-draws-$draws" --method score --set draws="$draws"
done
python "$examples/reproduce/finish_card.py" "$folder" --figures lass="$out/lass.json" score="$out/score.json" \
  --command examples/reproduce/slakh-drums-bass.sh

# 3. Whole songs, all stems mixed. Those that lack a stem are `failed` in the report, and exit code 3 says so.
if [ ! -f "$out/full-mix.json" ]; then
  sepcli separate "${songs[@]:0:${SONGS:-${#songs[@]}}}" --prior "$folder" --other \
    --out "$out/full-mix" --resume --overwrite || [ $? = 3 ]
  sepcli evaluate --estimates "$out/full-mix" --dataset slakh --data "$data" --split test --metric sdr,si-sdr,si-sdri \
    --out "$out/full-mix.json" || [ $? = 3 ]
fi
