#!/usr/bin/env bash
# Prepares a folder that checks and times this package on a bare Linux machine with an NVIDIA driver and no Node:
#   bench/pack-gpu.sh OUT          (then copy OUT there and run "bash OUT/gpu.sh OUT")
# It holds node.xz, gpu.sh and package.tar.xz: dist, the built addon, tests, benchmarks' scripts, the node_modules they
# need. ADDON names another addon than build/Release/iconface.node, which has kernels for GPUs after
# node scripts/build-addon.cjs gpu.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -eq 1 ] || { echo "usage: bench/pack-gpu.sh OUT" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
addon=${ADDON:-$root/build/Release/iconface.node}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cd "$root"

[ -f dist/cli/main.js ] || { echo "no dist: npm run build:ts first" >&2; exit 1; }
[ -f "$addon" ] || { echo "no addon: node scripts/build-addon.cjs gpu first, or name one in ADDON" >&2; exit 1; }
mkdir -p "$stage/build/Release" "$stage/bench"
cp -r dist models package.json "$stage"
find "$stage/dist" -name '*.d.ts' -delete
cp "$addon" "$stage/build/Release/iconface.node"
strip --strip-debug "$stage/build/Release/iconface.node" 2>/dev/null || true
cp bench/gather-gpu.mjs bench/precision.mjs "$stage/bench"
cp -r bench/rivals "$stage/bench"
npx tsc -p test --noEmit false --outDir "$stage"
# Fixtures that tests read, beside those that are code.
(cd test && find . -type f ! -name '*.ts' ! -name '*.cc' -exec cp --parents -t "$stage/test" {} +)

# The packages that a test and a benchmark load, whole but for types, source maps and copies for other module systems.
cat > "$stage/trace.cjs" <<'JS'
process.on('exit', () => {
  const packages = Object.keys(require.cache).flatMap((file) => /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [])
  require('node:fs').appendFileSync(process.env.TRACED, [...new Set(packages)].join('\n') + '\n')
})
JS
ln -s "$(readlink -f node_modules)" "$stage/node_modules"
export TRACED="$stage/traced"
(cd "$stage" &&
  ICONFACE_TEST_DEVICES= node --require ./trace.cjs test/ops/flow-step.test.js > /dev/null &&
  node --require ./trace.cjs dist/cli/main.js bench flow_step --quick --plot "$stage/plot.png" > /dev/null)
rm "$stage/node_modules" "$stage/trace.cjs" "$stage/plot.png"
libraries=$(cd node_modules && ls -d @img/sharp-libvips-linux-x64)
mkdir "$stage/node_modules"
for package in $(sort -u "$TRACED") $libraries; do
  (cd node_modules && find "$package/" -type f ! -name '*.d.ts' ! -name '*.map' ! -name '*.d.mts' ! -path '*/dist/esm/*' \
    ! -name '*.md' -exec cp --parents -t "$stage/node_modules" {} +)
  # Some packages read their other half's package.json.
  (cd node_modules && find "$package/" -path '*/dist/esm/package.json' -exec cp --parents -t "$stage/node_modules" {} +)
done
rm "$TRACED"

tar -C "$stage" -cf - . | xz -T0 -3 > "$out/package.tar.xz"
cp "$(readlink -f "$(command -v node)")" "$stage/node-binary"
strip "$stage/node-binary" 2>/dev/null || true
xz -T0 -3 -c "$stage/node-binary" > "$out/node.xz"
cp bench/gpu.sh "$out"
du -sh --apparent-size "$out"/* | sed "s#$out/##"
bytes=$(du -sb "$out" | cut -f1)
[ "$bytes" -lt $((64 << 20)) ] || { echo "the folder has $bytes bytes; 64 MiB are what can be carried" >&2; exit 1; }
