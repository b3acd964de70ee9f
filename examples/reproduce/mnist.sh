#!/usr/bin/env bash
# The bundled prior `mnist` and its figures, from MNIST's four IDX files: bash mnist.sh MNIST_DIR OUT_DIR
#
# Four hours on two CPU cores; run again after an interruption, it goes on where it was. Where there is a GPU, set
# PRESET=base and a BUDGET of your own. The second training starts from the weights of the first: the learning rate
# is raised once more, and then falls to nothing again.
set -euo pipefail
data=${1:?MNIST_DIR} out=${2:?OUT_DIR}
preset=${PRESET:-small} first=${BUDGET:-52m} second=${BUDGET:-62m} pairs=${PAIRS:-1000}
mkdir -p "$out"

train() {  # NAME BUDGET OPTION...: once, or the rest of it
  [ -f "$out/$1/card.toml" ] || sepcli train-prior --family denoiser --data "$data" --out "$out/$1" --preset "$preset" \
    --set classes=halves --note "MNIST, 59,000 training digits" --time-budget "$2" --resume "${@:3}"
}
train mnist-first "$first"
train mnist "$second" --init "$out/mnist-first" --learning-rate 8e-4

declare -A settings=(
  [halving-50]="--sampler halving --set weigh=1 --set candidates=3 --set steps=22 --set sigma_max=1.2 --set sigma_min=0.03 --set decide_from=0.5 --set decide_to=0.35 --set endings=2 --set end_from=0.2 --set bounded=0"
  [halving-400]="--sampler halving --set weigh=1 --set candidates=16 --set steps=30 --set sigma_max=1 --set rho=2 --set decide_from=0.4 --set decide_to=0.06 --set endings=9"
  [langevin]="--sampler langevin --set preset=paper"
  [langevin-fine]="--sampler langevin --set preset=fine" # five seconds and more a pair: only if ROWS says so
)
compile=()
command -v g++ > /dev/null && compile=(--set compile=1)
figures=()
for row in ${ROWS:-halving-50 halving-400 langevin}; do
  for pairing in any class; do
    figures+=("$row-$pairing=$out/$row-$pairing.json")
    [ -f "$out/$row-$pairing.json" ] && continue
    # shellcheck disable=SC2086 # words on purpose
    sepcli evaluate --dataset mnist --data "$data" --prior "$out/mnist" --pairs "$pairs" --pairing "$pairing" --metric psnr \
      --batch 64 --out "$out/$row-$pairing.json" ${settings[$row]} "${compile[@]}"
  done
done
python "$(dirname "$0")/finish_card.py" "$out/mnist" --like mnist --figures "${figures[@]}" \
  --command examples/reproduce/mnist.sh
