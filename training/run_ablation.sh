#!/bin/sh
# The rows of the paper's Table 3 at equal budget: one backbone without adapter, then each variant added to it and
# everything trained for the same steps, as the paper adds them to the pretrained FLUX.2. Writes RUN/models/VARIANT.
#     training/run_ablation.sh RUN        RUN has the data, encoders and latents of run_tiny.sh
# Each step goes on where it was stopped. PYTHON names the interpreter.
set -eu
run=$(cd "$1" && pwd)
cd "$(dirname "$0")"
config=configs/ablation.json
python=${PYTHON:-python3}
flow="$python train_flow.py --config $config --run $run --cache $run/cache-train --check $run/cache-check"

$flow --variant concat
for variant in concat structure identity one-route full; do
  $flow --variant $variant --identity-stage --begin-from concat
  $python export.py --config $config --run "$run" --out "$run/models/$variant" --variant $variant --identity-stage
done
