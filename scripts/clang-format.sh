#!/usr/bin/env bash
# Runs clang-format, with the arguments given, on every C++ and CUDA source of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files -z '*.cc' '*.h' '*.cu' '*.cuh' | xargs -0 npx --no-install clang-format "$@"
