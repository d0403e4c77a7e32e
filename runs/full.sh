#!/usr/bin/env bash
# From shards to a report with every table and figure of the paper: its base (or another, base=sd15), its training and
# its sampler. It resumes if it is run again.
#
#   make reproduce WITH='shards=SHARDS photos=PHOTOS'     or     runs/full.sh shards=SHARDS photos=PHOTOS
#
# The GPU hours are computed for the paper's base (results/if_memory.csv): 45.11 TFLOP per training step and 28 TFLOP
# per picture of 27 steps, at a sustained 150 TFLOP/s. All steps together take 22.4 hours and 19 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/step.sh

shards= # folder of shards to train on (docs/data.md)
photos= # folder of photos to evaluate
base=if_ii_m
out=
settings "shards photos base out" "$@"
[[ $shards && $photos ]] || fail "Settings are missing: expected shards=FOLDER photos=FOLDER."
out=${out:-outputs/reproduce/$base}

# ours-L, ours-G and ours-T: 1.7 hours and 6.1 GB each
for variant in L G T; do
  step "train_$variant" python train.py experiment=paper variant="$variant" base="$base" \
    data=shards data.shards="$shards" ckpt_path=here hydra.run.dir="$out/$variant"
done

# Figures 3 to 6: 2.5 hours; Tables 1 and 2: 1.7; Tables 3 and 4: 0.8; Figure 9: 7.5; Figures 14 to 17: 5; 100 MB each
for protocol in dequantization palette_transfer inpainting robustness colormap_transfer; do
  step "$protocol" python evaluate.py eval=all eval.protocols="[$protocol]" eval.max_photos=1000 base="$base" \
    data=folder data.root="$photos" ckpt_path="$out/"'${variant.name}/weights' \
    run_dir="$out/"'${eval.name}' results="$out/results/"'${eval.name}.csv'
done

step report python -m sweeps.report "$out"
