#!/usr/bin/env bash
# A flow of MNIST's digits, and BASIS with it, by one sample and by the likeliest of ten:
# bash mnist-flows.sh MNIST_DIR OUT_DIR
#
# OUT_DIR/mnist-flow is an autoregressive flow by default; FAMILY=glow makes OUT_DIR/mnist-glow instead. An hour and a
# half of training on two CPU cores, and about as long for the separations (computed from single rows, not measured as a
# whole); run again after an interruption, it goes on where it was. One flow is conditioned on the noise, which costs
# less; with FAMILY=glow, FINETUNE=1 is the paper's way, a flow of clean images first and then a copy of it for every
# noise level. Where there is a GPU, set PRESET=base, BUDGET and PAIRS=6000. Rows are those of Langevin dynamics with
# the paper's settings (1,000 evaluations) and of halving, by one sample and by the likeliest of ten;
# ROWS="langevin-1 halving-1 halving-10" leaves out the dearest.
set -euo pipefail
data=${1:?MNIST_DIR} out=${2:?OUT_DIR}
family=${FAMILY:-tarflow} preset=${PRESET:-small} pairs=${PAIRS:-16}
name=mnist-${family#tar}
mkdir -p "$out"

train() {  # BUDGET OPTION...: once, or the rest of it
  [ -f "$out/$name/card.toml" ] || sepcli train-prior --family "$family" --data "$data" --out "$out/$name" \
    --preset "$preset" --note "MNIST, 59,000 training digits" --time-budget "$1" --resume "${@:2}"
}
if [ -n "${FINETUNE:-}" ]; then
  train "${BUDGET:-24m}" --set clean=1
  # the card, which is written last, names the training that the fine-tuned flow started from
  grep -qxF '[[parts.glow.history]]' "$out/$name/card.toml" || sepcli train-prior --family glow --data "$data" \
    --out "$out/$name" --set finetune_noise=1 --time-budget "${FINETUNE_BUDGET:-16m}" --resume
elif [ "$family" = tarflow ]; then
  train "${BUDGET:-92m}" --learning-rate 1e-3 --batch 32
else
  train "${BUDGET:-40m}"
fi

like=mnist-flow chains=4 levels=60
[ "$family" = tarflow ] || like=$(dirname "$0")/mnist-glow chains=8 levels=30
declare -A settings=(
  [langevin]="--sampler langevin --set preset=paper"
  [halving]="--sampler halving --set weigh=0 --set candidates=$chains --set steps=$levels --set sigma_max=1 --set rho=2
             --set decide_from=0.4 --set decide_to=0.06"
)
figures=()
for pairing in ${PAIRINGS:-any class}; do
  for row in ${ROWS:-langevin-1 langevin-10 halving-1 halving-10}; do
    figures+=("$row-$pairing=$out/$row-$pairing.json")
    [ -f "$out/$row-$pairing.json" ] && continue
    # shellcheck disable=SC2086 # words on purpose
    sepcli evaluate --dataset mnist --data "$data" --prior "$out/$name" --pairs "$pairs" --pairing "$pairing" \
      --metric psnr,nll --batch 16 --samples "${row##*-}" ${settings[${row%-*}]} --out "$out/$row-$pairing.json"
  done
done
python "$(dirname "$0")/finish_card.py" "$out/$name" --like "$like" --figures "${figures[@]}" \
  --command examples/reproduce/mnist-flows.sh
