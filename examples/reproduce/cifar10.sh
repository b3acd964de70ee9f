#!/usr/bin/env bash
# The colour prior `cifar10`, from CIFAR-10 as small pictures (train/CLASS/*.jpg or *.png): bash cifar10.sh CIFAR10_DIR OUT_DIR
#
# An hour on two CPU cores; run again after an interruption, it goes on where it was. Where there is a GPU, set
# PRESET=base and a BUDGET of your own. Then colour a grey picture: sepcli colorize photo.png --prior OUT_DIR/cifar10
set -euo pipefail
data=${1:?CIFAR10_DIR} out=${2:?OUT_DIR}
mkdir -p "$out"

[ -f "$out/cifar10/card.toml" ] || sepcli train-prior --family denoiser --data "$data" --out "$out/cifar10" \
  --preset "${PRESET:-small}" --size 32 --channels 3 --sources picture --note "CIFAR-10, 49,000 training pictures" \
  --time-budget "${BUDGET:-60m}" --resume
