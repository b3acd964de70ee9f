#!/usr/bin/env bash
# The bundled color prior `cifar10` and its figures, from CIFAR-10 as small images (train/CLASS/*.jpg or *.png):
# bash cifar10.sh CIFAR10_DIR OUT_DIR
#
# An hour on two CPU cores; run again after an interruption, it goes on where it was. Where there is a GPU, set
# PRESET=base and a BUDGET of your own. Then color a gray image: sepcli colorize photo.png --prior OUT_DIR/cifar10
set -euo pipefail
data=${1:?CIFAR10_DIR} out=${2:?OUT_DIR}
mkdir -p "$out"

[ -f "$out/cifar10/card.toml" ] || sepcli train-prior --family denoiser --data "$data" --out "$out/cifar10" \
  --preset "${PRESET:-small}" --set size=32 --set channels=3 --sources image --note "CIFAR-10, 49,000 training images" \
  --time-budget "${BUDGET:-60m}" --resume

figures=()
evaluate() {  # NAME OPTION...
  figures+=("$1=$out/$1.json")
  [ -f "$out/$1.json" ] || sepcli evaluate --dataset cifar10 --data "$data" --prior "$out/cifar10" --pairs "${PAIRS:-1000}" \
    --out "$out/$1.json" --set bounded=0 "${@:2}"
}
pairs=(--metric "psnr,ssim,fd-cifar,cs-cifar" --batch 32 --sampler projected --set eta=ancestral --set weigh=1 --set sigma_max=10 --set rho=7)
evaluate colors --task colorize --metric psnr,fd-cifar,cs-cifar --batch 16
evaluate pairs-any --pairing any "${pairs[@]}"
evaluate pairs-class --pairing class "${pairs[@]}"
python "$(dirname "$0")/finish_card.py" "$out/cifar10" --like cifar10 --figures "${figures[@]}" \
  --command examples/reproduce/cifar10.sh
