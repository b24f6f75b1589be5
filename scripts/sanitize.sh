#!/usr/bin/env bash
# The tests once more, with instruments.
#   scripts/sanitize.sh [test file...]   AddressSanitizer and UBSan: all tests that fit, unless some are named
#   scripts/sanitize.sh threads          ThreadSanitizer: the job queue and the thread pool under stress
#   scripts/sanitize.sh soak [options]   AddressSanitizer and UBSan: parts of the soak; options of tools/soak
# ICONFACE_ISAS names the instruction sets to instrument. Leaks are not looked for: node itself ends without freeing;
# what the core holds is counted by test/robust.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = threads ]; then
  mkdir -p build-asan
  g++ -std=gnu++20 -O1 -g -fsanitize=thread -Wall -Wextra -Werror -pthread -I native/src -o build-asan/threads \
    test/native/threads.cc native/src/{base/error,runtime/job_queue,runtime/thread_pool,runtime/start_thread}.cc
  exec build-asan/threads
fi

build() {
  node scripts/build-addon.cjs test -O build-asan "--CDICONFACE_ISAS=${ICONFACE_ISAS:-avx2}" --CDICONFACE_SANITIZE=ON
}

# What runs other programs, measures the package, stands a fake in the addon's place or never enters it is no matter of
# its memory.
tests() {
  grep -rlE "fixtures/(tiny|tensors|linear|golden|heads)'|OpContext|IConFace\b|Networks|loadAddon|restore" test --include='*.test.ts' |
    xargs grep -LE 'useFakeAddon|FAKE_ADDON' | grep -vE '/(package|cli|bench|bench-gpu|killed|default-model|types|degrade|portraits|metrics)\.test|/cli/' | sort
}

build >build-asan.log 2>&1 || { tail -n 50 build-asan.log; exit 1; }
soak=
if [ "${1:-}" = soak ]; then
  soak=1
  shift
elif [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(tests); fi

export ICONFACE_BINARY="$PWD/build-asan/Release/iconface.node" ICONFACE_SANITIZED=1
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
# The sanitizers' runtime must come first in every process, and so in node.
runtime="$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)"
[ -z "$soak" ] || exec env LD_PRELOAD="$runtime" node tools/soak/main.mjs "$@"
LD_PRELOAD="$runtime" npx --no-install tap --reporter=tap --timeout=3600 --jobs="$(nproc)" "${files[@]}"
