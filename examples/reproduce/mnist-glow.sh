#!/usr/bin/env bash
# A Glow of MNIST's digits, and BASIS with it, by one draw and by the likeliest of ten: bash mnist-glow.sh MNIST_DIR OUT_DIR
#
# About 40 minutes of training on two CPU cores, and as long for the separations; run again after an interruption, it
# goes on where it was. By default one flow is told the noise, which is the cheaper way; LADDER=1 is the paper's, a
# flow of clean pictures first and then a copy of it for every noise level. Where there is a GPU, set PRESET=base,
# BUDGET, PAIRS=6000 and LANGEVIN="--set preset=paper" (1,000 evaluations).
set -euo pipefail
data=${1:?MNIST_DIR} out=${2:?OUT_DIR}
preset=${PRESET:-small} pairs=${PAIRS:-8} langevin=${LANGEVIN---set preset=paper --set levels=10 --set steps=10}
mkdir -p "$out"

train() {  # NAME BUDGET OPTION...: once, or the rest of it
  [ -f "$out/$1/card.toml" ] || sepcli train-prior --family glow --data "$data" --out "$out/$1" --preset "$preset" \
    --note "MNIST, 59,000 training digits" --time-budget "$2" --resume "${@:3}"
}
if [ -n "${LADDER:-}" ]; then
  train mnist-glow "${BUDGET:-24m}" --clean
  [ -f "$out/ladder-done" ] || sepcli train-prior --family glow --data "$data" --out "$out/mnist-glow" --finetune-noise \
    --time-budget "${LADDER_BUDGET:-16m}" --resume
  touch "$out/ladder-done"
else
  train mnist-glow "${BUDGET:-40m}"
fi

for draws in 1 10; do
  for split in none class; do
    [ -f "$out/langevin-$draws-$split.json" ] && continue
    # shellcheck disable=SC2086 # words on purpose
    sepcli evaluate --dataset mnist --data "$data" --prior "$out/mnist-glow" --pairs "$pairs" --split "$split" \
      --metric psnr --batch 8 --samples "$draws" --sampler langevin --out "$out/langevin-$draws-$split.json" $langevin
  done
done
