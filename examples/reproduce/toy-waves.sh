#!/usr/bin/env bash
# Toy waves, from nothing: four flows, whether they tell each other's waves apart, encoders of mixtures learnt from
# mixtures alone, and separations by these and by the flows: bash toy-waves.sh OUT_DIR
#
# About 90 minutes on two CPU cores, half of them training (computed from single rows, not measured as a whole); run
# again after an interruption, it goes on where it was. OUT_DIR/toy-waves then separates by the flows or by encoders:
# sepcli separate mix.wav --prior OUT_DIR/toy-waves --method score|langevin|variational. Where there is a GPU, set
# PRESET=base, LANGEVIN="" (the prior's own, 1,000 evaluations), LANGEVIN_PAIRS=100, FLOW_PAIRS=100 and a FLOW_BUDGET
# and an ENCODER_BUDGET of an hour or more.
# FLOW="--set clean=1 --set noise=0.1" trains flows of one noise level, as the thesis' are.
set -euo pipefail
out=${1:?OUT_DIR}
preset=${PRESET:-small} flow=${FLOW:-} langevin=${LANGEVIN---set levels=12 --set steps=25}
mkdir -p "$out"

train() {  # NAME BUDGET OPTION...: once, or the rest of it
  [ -f "$out/$1/card.toml" ] || sepcli train-prior --data toy-waves --out "$out/$1" --preset "$preset" \
    --time-budget "$2" --resume "${@:3}"
}
priors=()
for shape in sine square sawtooth triangle; do
  # shellcheck disable=SC2086 # words on purpose
  train "$shape" "${FLOW_BUDGET:-8m}" --family flow --sources "$shape" --learning-rate "${RATE:-3e-3}" $flow
  priors+=(--prior "$out/$shape")
done
figures=()
for noise in 0 0.02 0.1; do
  [ -z "$flow" ] || [ "$noise" = 0 ] || continue  # flows of one level know no other
  figures+=("cross-$noise=$out/cross-$noise.json")
  [ -f "$out/cross-$noise.json" ] || sepcli evaluate --metric cross-likelihood --data toy-waves "${priors[@]}" \
    --noise "$noise" --pairs "${CROSS_PAIRS:-20}" --out "$out/cross-$noise.json" --plot "$out/cross-$noise.png"
done
train toy-waves "${ENCODER_BUDGET:-12m}" --family variational "${priors[@]}" --batch 8

score() {  # NAME OPTION...
  figures+=("$1=$out/$1.json")
  [ -f "$out/$1.json" ] || sepcli evaluate --dataset toy-waves --metric si-sdr,sdr --out "$out/$1.json" "${@:2}"
}
score variational --prior "$out/toy-waves" --method variational --pairs "${PAIRS:-100}"
# shellcheck disable=SC2086 # words on purpose
score langevin --prior "$out/toy-waves" --method langevin --pairs "${LANGEVIN_PAIRS:-4}" --batch 4 $langevin
# shellcheck disable=SC2086 # words on purpose
score projected --prior "$out/toy-waves" --method score --pairs "${FLOW_PAIRS:-12}" --batch 4 ${PROJECTED-}
python "$(dirname "$0")/finish_card.py" "$out/toy-waves" --set engine=score --figures "${figures[@]}" \
  --command examples/reproduce/toy-waves.sh
