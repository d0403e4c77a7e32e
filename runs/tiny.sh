#!/usr/bin/env bash
# From photos to a report with every table and figure of the paper, on a few small photos of the package: a test of the
# commands, no result. It takes 2.5 minutes of one CPU core and 285 MB, and resumes if it is run again.
#
#   make reproduce SCALE=tiny WITH='steps=30 photos=2'     or     runs/tiny.sh steps=30 photos=2
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/step.sh

out=outputs/reproduce/tiny
steps=30 # of training
photos=2 # to evaluate
settings "out steps photos" "$@"
[[ $steps =~ ^[0-9]+$ ]] || fail "Expected a number of steps, got steps=$steps."

# ours-L, ours-G and ours-T: 1.1 minutes, 265 MB
step train python train.py -m variant=L,G,T data.size=64 data.val_size=64 data.batch_size=4 data.num_workers=0 \
  trainer.max_steps="$steps" trainer.val_check_interval=$((steps / 2)) ckpt_path=here \
  hydra.sweep.dir="$out" 'hydra.sweep.subdir=${variant.name}'

# Tables 1 to 4 and all figures: 1.2 minutes, 15 MB
step evaluate python evaluate.py eval=all eval.size=64 eval.max_photos="$photos" \
  ckpt_path="$out/"'${variant.name}/weights' run_dir="$out/"'${eval.name}' results="$out/results/"'${eval.name}.csv'

step report python -m sweeps.report "$out"
