#!/usr/bin/env bash
# The tests that look deeper than `npm test` does, at their full depth (test/fixtures/tier.ts), and those of every
# instruction set. Arguments go to tap.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(grep -rlE "fixtures/tier'|everyIsa|isas" test --include='*.test.ts' | sort)
ICONFACE_TEST_TIER=full exec npx --no-install tap --timeout=3600 --jobs="$(nproc)" "$@" "${files[@]}"
