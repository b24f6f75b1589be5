#!/usr/bin/env bash
# Checks and times this package on a GPU, on a bare Linux machine with a driver, from a folder made by bench/pack-gpu.sh:
#   bash gpu.sh FOLDER [--device cuda] [--quick] [--results DIR] [--seconds 480]
# Tests of operations and networks against the processor, all operations, networks and restores timed (random weights of
# klein-4B's size are written meanwhile), the same shapes by PyTorch where python3 has it. One JSON comes out:
# DIR/<date>-<GPU>.json (DIR: bench/results of a checkout, else FOLDER/results). Ends with 1 if anything was wrong.
# --quick: small shapes and models, to see that it works (with --device cuda-emulated in a build that has it).
set -euo pipefail
usage() { sed -n 's/^#   bash/usage: bash/p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
folder=$(cd "$1" && pwd); shift
device=cuda quick= results= seconds=480
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=${2:?}; shift 2 ;;
    --results) results=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
    --quick) quick=--quick; shift ;;
    *) usage ;;
  esac
done
if [ -z "$results" ]; then
  results=$folder/results
  [ ! -d "$(dirname "$0")/results" ] || results=$(cd "$(dirname "$0")/results" && pwd)
fi
mkdir -p "$results"
begun=$SECONDS
left() { local n=$((seconds - (SECONDS - begun))); echo $((n > 5 ? n : 5)); }
say() { echo "[$((SECONDS - begun)) s] $*"; }

unxz() { if command -v xz > /dev/null; then xz -dc "$1"; else
  python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"; fi; }
run=$folder/run
if [ ! -x "$run/node" ]; then
  mkdir -p "$run"
  unxz "$folder/package.tar.xz" | tar -x --no-same-owner -C "$run" -f -
  unxz "$folder/node.xz" > "$run/node.part"
  chmod +x "$run/node.part"
  mv "$run/node.part" "$run/node"
fi
cd "$run"
node=$run/node
work=$run/out
rm -rf "$work" && mkdir -p "$work/tests"
wrong=0
say "$("$node" -p process.version), $device"

model= writing=
if [ -z "$quick" ]; then
  model=$run/klein-4b
  if [ ! -f "$model/iconface.json" ]; then
    "$node" dist/cli/main.js synthesize --preset klein-4b --out "$model" --force > "$work/synthesize.log" 2>&1 &
    writing=$!
    trap 'kill $writing 2> /dev/null || true' EXIT
  fi
fi

# Tests: every operation against float64 on awkward shapes, the networks and restores against the processor.
export TAP_TIMEOUT=0 ICONFACE_TEST_DEVICES=${device/%cuda/cuda:0}
tests=$(ls test/ops/*.test.js)
[ -n "$quick" ] && tests="test/ops/flow-step.test.js test/ops/rms-norm.test.js" || tests="$tests $(ls test/networks.test.js test/device.test.js test/fp8.test.js 2> /dev/null || true)"
for test in $tests; do
  name=$(basename "$test" .test.js)
  status=0
  timeout "$(left)" "$node" "$test" > "$work/tests/$name.tap" 2>&1 || status=$?
  echo "$status" > "$work/tests/$name.status"
  [ "$status" -eq 0 ] || { wrong=1; say "test $name: exit $status"; grep -m 3 '^ *not ok' "$work/tests/$name.tap" || true; }
done
say "$(ls "$work"/tests/*.status | wc -l) test files, $(cat "$work"/tests/*.status | grep -vc '^0$' || true) of them failed"

bench() { # NAME ARGUMENTS...: within the time that is left; its record is $work/NAME.json
  local name=$1; shift
  timeout "$(left)" "$node" dist/cli/main.js bench --device "$device" $quick --json "$work/$name.json" "$@" || { wrong=1; say "bench $name: exit $?"; }
}
bench operations
# fp8, on GPUs of compute capability 8.9 or later.
fp8=
"$node" -e 'const { devices = [] } = require("./dist/native.js").loadAddon().info().cuda ?? {}
  process.exit(process.argv[1] === "cuda-emulated" || Number(devices[process.argv[1].split(":")[1] ?? 0]?.capability) >= 8.9 ? 0 : 1)' "$device" && fp8=yes
[ -z "$fp8" ] || bench operations-fp8 --precision fp8
if [ -n "$writing" ]; then
  say "waiting for the weights"
  wait "$writing" || { wrong=1; cat "$work/synthesize.log"; }
  trap - EXIT
fi
if [ -n "$quick" ]; then
  bench networks forward
  [ -z "$fp8" ] || bench networks-fp8 forward --precision fp8
else
  bench networks forward forward_adapter denoise vae face_embedding --model "$model"
  bench restores restore --model "$model"
  [ -z "$fp8" ] || bench networks-fp8 forward denoise --precision fp8 --model "$model"
  if [ -n "$fp8" ]; then
    bench restores-fp8 restore --precision fp8 --model "$model"
    timeout "$(left)" "$node" bench/precision.mjs "$device" || { wrong=1; say "precision: exit $?"; }
  fi
fi
say "benchmarks done"

if python3 -c 'import torch' 2> /dev/null; then
  ours=("$work/operations.json" "$work/networks.json")
  [ ! -f "$work/operations-fp8.json" ] || ours+=("$work/operations-fp8.json")
  rivals=(--ours "${ours[@]}" --out "$work/rivals.json" --seconds $(($(left) * 3 / 4)))
  [ "$device" != cuda-emulated ] || rivals+=(--device cpu --tiny)
  timeout "$(left)" python3 bench/rivals/pytorch_cuda.py "${rivals[@]}" || say "PyTorch: exit $?"
else
  say "python3 has no torch: no rivals"
fi
"$node" bench/gather-gpu.mjs "$work" "$results" || wrong=1
say "done"
exit $wrong
