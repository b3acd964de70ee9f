#!/usr/bin/env bash
# A separator of your own in one sitting, on a CPU: bash compose_separator.sh OUT_DIR [BUDGET]
#
# Two instruments, a prior for each, learnt from its recordings alone, and both together separate what nobody
# ever trained on: duets. BUDGET is how long each prior trains (10m if not given; 90s, 2h). Run again after an
# interruption, it goes on where it was. For recordings of your own leave the first step out and put them into
# OUT_DIR/pluck and OUT_DIR/flute, or change the two names.
set -euo pipefail
out=${1:?OUT_DIR} budget=${2:-10m} preset=${PRESET:-small}
here=$(dirname "$0")

run() { echo "+ $*" >&2; "$@"; }  # shows every command before it runs

# 1. Clean recordings: some minutes of each instrument, and four duets for the test (seconds).
# shellcheck disable=SC2086 # words on purpose
[ -f "$out/duets/duet-4.flac" ] || run python "$here/compose_separator_audio.py" "$out" ${SOUNDS:-}

# 2. A prior per instrument (BUDGET each). INTERFERENCE=1: each is also trained to reject the other.
for name in pluck flute; do
  other=(--set interference="$out/$([ $name = pluck ] && echo flute || echo pluck)")
  [ -f "$out/priors/$name/card.toml" ] || run sepcli train-prior --family denoiser --data "$out/$name" \
    --out "$out/priors/$name" --preset "$preset" --time-budget "$budget" --resume ${INTERFERENCE:+"${other[@]}"}
done

# 3. The separator: one --prior per source. No training on duets (a minute).
run sepcli separate "$out/duets" --prior "$out/priors/pluck" --prior "$out/priors/flute" --out "$out/estimates" --resume

# 4. How good it is, beside half the mixture for each and beside ideal masks.
run sepcli evaluate "$out/estimates" "$out/references"
