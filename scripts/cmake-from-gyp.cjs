// Called by binding.gyp: builds what is published in a folder of its own and puts it where node-gyp expects it.
//   node scripts/cmake-from-gyp.cjs <product folder> <architecture>
const { copyFileSync, mkdirSync } = require('node:fs')
const { join, resolve } = require('node:path')
const { buildAddon } = require('./build-addon.cjs')

const [product, arch] = process.argv.slice(2)
if (!product || !arch) throw new Error('usage: cmake-from-gyp.cjs <product folder> <architecture>')

const build = resolve(__dirname, '..', 'build-cmake')
process.exitCode = buildAddon('release', ['-O', build, '--arch', arch])
if (process.exitCode === 0) {
  mkdirSync(product, { recursive: true })
  copyFileSync(join(build, 'Release', 'iconface.node'), join(product, 'iconface.node'))
}
