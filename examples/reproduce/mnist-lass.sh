#!/usr/bin/env bash
# The prior `mnist-lass` (tokens) and its figures, from MNIST's four IDX files: bash mnist-lass.sh MNIST_DIR OUT_DIR
#
# Codec, autoregressive prior and likelihood table take 37 minutes on two CPU cores, then every sampler is measured;
# run again after an interruption, it goes on where it was. Where there is a GPU, set PRESET=base, a BUDGET of your
# own for each of the three trainings, and PAIRS=6000. The rows are those of the paper (Postolache et al. 2023, table
# 3: candidates of a draw, then refinement; a beam's likeliest); in the last two the sources are moved onto the
# mixture, and in the last the prior has a say in which candidate is the best. The prior is trained twice: the second
# time from the weights of the first.
set -euo pipefail
data=${1:?MNIST_DIR} out=${2:?OUT_DIR}
preset=${PRESET:-small} codec=${BUDGET:-6m} prior=${BUDGET:-12m} again=${BUDGET:-16m} counting=${COUNTING:-3m}
pairs=${PAIRS:-100} folder="$out/mnist-lass" first="$out/first"
mkdir -p "$first"

train() {  # FAMILY FOLDER PART BUDGET OPTION...: once, or the rest of it
  grep -qsxF "[parts.$3]" "$2/card.toml" || sepcli train-prior --family "$1" --data "$data" --out "$2" --preset "$preset" \
    --note "MNIST, 59,000 training digits" --time-budget "$4" --resume "${@:5}"
}
train vqvae "$folder" codec "$codec" --learning-rate 2e-3
[ -d "$first/codec" ] || { cp -r "$folder/codec" "$first/part" && mv "$first/part" "$first/codec"; }
train transformer "$first" transformer "$prior" --learning-rate 2e-3 --set classes=halves
train transformer "$folder" transformer "$again" --learning-rate 1.5e-3 --set classes=halves --init "$first"
[ -f "$folder/table/table.safetensors" ] || sepcli build-likelihood --prior "$folder" --data "$data" \
  --tokens 200000000 --time-budget "$counting" --resume

# on 24 pairs of the 1,000 digits held out from training, and the noise of the last row on 48
chosen="--set temperature=0.6 --set max_candidates=4096"
declare -A settings=(
  [greedy]="--sampler greedy --set exact=0 --set noise=0"
  [beam]="--sampler beam --set width=100 --set candidates=1 --set exact=0 --set noise=0"
  [ancestral]="--sampler ancestral --set exact=0 --set noise=0"
  [top-k]="--sampler top-k --set top_k=32 --set exact=0 --set noise=0"
  [exact]="--sampler ancestral --set noise=0"
  [likeliest]="--sampler ancestral --set noise=0.3"
)
figures=()
for row in ${ROWS:-greedy beam ancestral top-k exact likeliest}; do
  figures+=("$row=$out/$row.json")
  [ -f "$out/$row.json" ] && continue
  # shellcheck disable=SC2086 # words on purpose
  sepcli evaluate --dataset mnist --data "$data" --prior "$folder" --pairs "$pairs" --metric psnr \
    --out "$out/$row.json" ${settings[$row]} $chosen ${EXTRA:-}
done
python "$(dirname "$0")/finish_card.py" "$folder" --like mnist-lass --figures "${figures[@]}" \
  --command examples/reproduce/mnist-lass.sh
