#!/usr/bin/env bash
# The prior `mnist-lass` (tokens) and its figures, from MNIST's four IDX files: bash mnist-lass.sh MNIST_DIR OUT_DIR
#
# Codec, autoregressive prior and likelihood table take 21 minutes on two CPU cores, then every sampler is measured;
# run again after an interruption, it goes on where it was. Where there is a GPU, set PRESET=base, a BUDGET of your
# own for each of the two trainings, and PAIRS=6000. The rows are those of the paper (Postolache et al. 2023, table 3:
# candidates of a draw, then refinement; a beam's likeliest); the last also moves the sources onto the mixture.
set -euo pipefail
data=${1:?MNIST_DIR} out=${2:?OUT_DIR}
preset=${PRESET:-small} codec=${BUDGET:-6m} prior=${BUDGET:-12m} counting=${COUNTING:-3m} pairs=${PAIRS:-100}
folder="$out/mnist-lass"
mkdir -p "$out"

train() {  # FAMILY PART BUDGET OPTION...: once, or the rest of it
  [ -f "$folder/$2/config.json" ] || sepcli train-prior --family "$1" --data "$data" --out "$folder" --preset "$preset" \
    --note "MNIST, 59,000 training digits" --time-budget "$3" --resume "${@:4}"
}
train vqvae codec "$codec" --learning-rate 2e-3
train transformer prior "$prior" --learning-rate 2e-3 --classes halves
[ -f "$folder/table/table.safetensors" ] || sepcli build-likelihood --prior "$folder" --data "$data" \
  --tokens 200000000 --time-budget "$counting" --resume

chosen="--set temperature=0.6 --set max_candidates=4096"  # on 24 pairs of the 1,000 digits held out from training
declare -A settings=(
  [greedy]="--sampler greedy --set exact=0"
  [beam]="--sampler beam --set width=100 --set candidates=1 --set exact=0"
  [ancestral]="--sampler ancestral --set exact=0"
  [top-k]="--sampler top-k --set top_k=32 --set exact=0"
  [exact]="--sampler ancestral"
)
figures=()
for row in ${ROWS:-greedy beam ancestral top-k exact}; do
  figures+=("$row=$out/$row.json")
  [ -f "$out/$row.json" ] && continue
  # shellcheck disable=SC2086 # words on purpose
  sepcli evaluate --dataset mnist --data "$data" --prior "$folder" --pairs "$pairs" --metric psnr \
    --out "$out/$row.json" ${settings[$row]} $chosen ${EXTRA:-}
done
python "$(dirname "$0")/finish_card.py" "$folder" --like mnist-lass --figures "${figures[@]}" \
  --command examples/reproduce/mnist-lass.sh
