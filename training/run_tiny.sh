#!/bin/sh
# Everything from nothing to models/tiny: data, autoencoder, face encoder, latents, flow, export.
#     training/run_tiny.sh RUN [MODEL]
# Each step goes on where it was stopped. PYTHON names the interpreter; see README.md for threads and memory settings.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=${2:-$here/../models/tiny}
mkdir -p "$1" "$model"
run=$(cd "$1" && pwd)
model=$(cd "$model" && pwd)
config=$here/configs/tiny.json
python=${PYTHON:-python3}
cd "$here"

node make_data.mjs --out "$run/check" --first 500000 --identities 220 --states 5
node make_data.mjs --out "$run/train" --identities 900 --states 6

# They do not depend on each other and leave a CPU each.
OMP_NUM_THREADS=${THREADS:-1} $python train_face.py --config "$config" --data "$run/train" --check "$run/check" --run "$run" &
face=$!
OMP_NUM_THREADS=${THREADS:-1} $python train_autoencoder.py --config "$config" --data "$run/train" --check "$run/check" --run "$run"
wait $face

for data in train check; do
  [ -e "$run/cache-$data/cache.json" ] || $python cache_latents.py --data "$run/$data" --config "$config" --run "$run" --out "$run/cache-$data" --bf16
done
$python train_flow.py --config "$config" --run "$run" --cache "$run/cache-train" --check "$run/cache-check"
$python train_flow.py --config "$config" --run "$run" --cache "$run/cache-train" --check "$run/cache-check" --identity-stage
$python export.py --config "$config" --run "$run" --out "$run/unrefined" --identity-stage

# Each later stage begins from the model before it, in a folder of its own that shares autoencoder and face encoder.
before="$run/unrefined"
for stage in refine settle settle-more; do
  mkdir -p "$run/$stage"
  for part in autoencoder face; do ln -sfn "../$part" "$run/$stage/$part"; done
  later="$here/configs/tiny-$stage.json"
  $python train_flow.py --config "$later" --run "$run/$stage" --cache "$run/cache-train" --check "$run/cache-check" --identity-stage --begin-from "$before"
  $python export.py --config "$later" --run "$run/$stage" --out "$run/$stage/model" --identity-stage
  before="$run/$stage/model"
done
cp "$before"/* "$model"
