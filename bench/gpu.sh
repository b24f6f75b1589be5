#!/usr/bin/env bash
# Checks and times this package on a GPU: on a bare Linux machine with a driver, from a folder of bench/pack-gpu.sh.
#   bash gpu.sh FOLDER [--device cuda] [--quick] [--results DIR] [--seconds 480] [--sanitize]
# Tests of operations and networks against the CPU, all operations, networks and restores timed (random weights of
# klein-4B's size are written meanwhile), the same shapes by PyTorch where python3 has it. One JSON comes out:
# DIR/<date>-<GPU>.json (DIR: bench/results of a checkout, else FOLDER/results); it is there from the first test on, and
# holds after every case what was measured until then. After --seconds all is over. Ends with 1 if anything was
# wrong, or cut off.
# --quick: small shapes and models, to see that it works (with --device cuda-emulated in a build that has it).
# --sanitize: instead of all that the tests of operations under compute-sanitizer's memcheck, racecheck and synccheck,
# into DIR/<date>-<GPU>-sanitizer.json; what they report is in FOLDER/run/out/tests.
set -euo pipefail
usage() { sed -n 's/^#   bash/usage: bash/p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
folder=$(cd "$1" && pwd); shift
device=cuda quick= results= seconds=480 sanitize=
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=${2:?}; shift 2 ;;
    --results) results=${2:?}; shift 2 ;;
    --seconds) seconds=${2:?}; shift 2 ;;
    --quick) quick=--quick; shift ;;
    --sanitize) sanitize=-sanitizer; shift ;;
    *) usage ;;
  esac
done
if [ -z "$results" ]; then
  results=$folder/results
  [ ! -d "$(dirname "$0")/results" ] || results=$(cd "$(dirname "$0")/results" && pwd)
fi
[ -z "$sanitize" ] || command -v compute-sanitizer > /dev/null ||
  { echo "no compute-sanitizer on the PATH: it comes with the CUDA toolkit" >&2; exit 1; }
mkdir -p "$results"
results=$(cd "$results" && pwd)

say() { echo "[$SECONDS s] $*"; }
cut= wrong=0
cut_off() { cut=--cut wrong=1; say "$*"; }

# One thing at a time, in the background, so that a signal that ends this script ends it too; stopped after so many
# seconds, with status 124, or not begun where there are none.
child= writing= follower=
limited() { # SECONDS COMMAND...
  local status=0 limit=$1; shift
  [ "$limit" -gt 0 ] || return 124
  timeout -k 3 "$limit" "$@" & child=$!
  wait "$child" || status=$?
  child=
  return $status
}
left() { echo $((seconds - 10 - SECONDS)); } # the rest is for ending what does not end by itself, and for gathering
least() { echo $(($1 < $2 ? $1 : $2)); }
stop() { # PROCESS...
  for process; do kill "$process" 2> /dev/null || true; wait "$process" || true; done
}
trap 'stop $child $writing $follower' EXIT # the follower last: it gathers what the others left
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

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
say "$("$node" -p process.version), $device"
"$node" bench/gather-gpu.mjs begin "$work" "$device" "$sanitize"
"$node" bench/gather-gpu.mjs follow "$work" "$results" & follower=$!

model=
if [ -z "$quick$sanitize" ]; then
  model=$run/klein-4b
  if [ ! -f "$model/iconface.json" ]; then
    "$node" dist/cli/main.js synthesize --preset klein-4b --out "$model" --force > "$work/synthesize.log" 2>&1 &
    writing=$!
  fi
fi

# Tests: every operation against float64 on awkward shapes, the networks and restores against the CPU. All together
# get three eighths of the time and none more than a fifth, so that one that hangs does not cost the measurements.
export TAP_TIMEOUT=0 ICONFACE_TEST_DEVICES=${device/%cuda/cuda:0}
if [ -n "$quick" ]; then tests="test/ops/flow-step.test.js test/ops/rms-norm.test.js"
else
  tests=$(ls test/ops/*.test.js)
  [ -n "$sanitize" ] || tests+=" test/networks.test.js test/device.test.js test/graph-cache.test.js test/fp8.test.js"
fi
untested=
check() { # NAME LIMIT COMMAND...: one test
  local name=$1 limit=$2 status=0; shift 2
  [ "$limit" -gt 0 ] || { untested+=" $name"; return; }
  limited "$limit" "$@" > "$work/tests/$name.tap" 2>&1 || status=$?
  echo "$status" > "$work/tests/$name.status"
  [ "$status" -eq 0 ] || { wrong=1; say "test $name: exit $status"; grep -m 3 '^ *not ok' "$work/tests/$name.tap" || true; }
}
for test in $tests; do
  name=$(basename "$test" .test.js)
  if [ -z "$sanitize" ]; then
    check "$name" $(least $((seconds * 3 / 8 - SECONDS)) $((seconds / 5))) "$node" "$test"
  else
    for tool in memcheck racecheck synccheck; do
      check "$tool-$name" "$(left)" compute-sanitizer --tool "$tool" --error-exitcode 9 "$node" "$test"
    done
  fi
done
[ -z "$untested" ] || cut_off "no time for the tests$untested"
say "$(ls "$work"/tests/*.status | wc -l) test files, $(cat "$work"/tests/*.status | grep -vc '^0$' || true) of them failed"
finish() {
  stop "$follower"
  follower=
  "$node" bench/gather-gpu.mjs end "$work" "$results" $cut || wrong=1
  say "done"
  exit $wrong
}
[ -z "$sanitize" ] || finish

bench() { # NAME ARGUMENTS...: within the time that is left; its record is $work/NAME.json
  local name=$1 status=0; shift
  limited "$(left)" "$node" dist/cli/main.js bench --device "$device" $quick --json "$work/$name.json" "$@" || status=$?
  [ "$status" -eq 0 ] || cut_off "bench $name: exit $status"
}
bench operations
# fp8, on GPUs of compute capability 8.9 or later.
fp8=
"$node" -e 'const { devices = [] } = require("./dist/native.js").loadAddon().info().cuda ?? {}
  process.exit(process.argv[1] === "cuda-emulated" || Number(devices[process.argv[1].split(":")[1] ?? 0]?.capability) >= 8.9 ? 0 : 1)' "$device" && fp8=yes
[ -z "$fp8" ] || bench operations-fp8 --precision fp8
if [ -n "$writing" ]; then
  say "waiting for the weights"
  while kill -0 "$writing" 2> /dev/null && [ "$(left)" -gt 0 ]; do sleep 1; done
  kill "$writing" 2> /dev/null || true
  wait "$writing" || { cut_off "the weights were not written"; cat "$work/synthesize.log"; }
  writing=
fi
if [ -n "$quick" ]; then
  bench networks forward denoise
  bench restores restore
  [ -z "$fp8" ] || bench networks-fp8 forward --precision fp8
elif [ -f "$model/iconface.json" ]; then
  bench networks forward forward_adapter denoise vae face_embedding --model "$model"
  bench restores restore --model "$model"
  [ -z "$fp8" ] || bench networks-fp8 forward denoise --precision fp8 --model "$model"
  if [ -n "$fp8" ]; then
    bench restores-fp8 restore --precision fp8 --model "$model"
    status=0
    limited "$(left)" "$node" bench/precision.mjs "$device" || status=$?
    [ "$status" -eq 0 ] || cut_off "precision: exit $status"
  fi
fi
say "benchmarks done"

if python3 -c 'import torch' 2> /dev/null; then
  ours=$(ls "$work"/operations.json "$work"/networks.json "$work"/operations-fp8.json 2> /dev/null || true)
  rivals=(--out "$work/rivals.json" --seconds $(($(left) * 3 / 4)))
  case $device in
    cuda | cuda:*) rivals+=(--device "$device") ;;
    *) rivals+=(--device cpu --tiny) ;;
  esac
  status=0
  [ -z "$ours" ] || limited "$(left)" python3 bench/rivals/pytorch_cuda.py --ours $ours "${rivals[@]}" || status=$?
  [ "$status" -eq 0 ] || cut_off "PyTorch: exit $status"
else
  say "python3 has no torch: no rivals"
fi
finish
