// Called by binding.gyp: builds the addon with CMake in a folder of its own and puts it where node-gyp expects it.
//   node scripts/cmake-from-gyp.cjs <product folder> <architecture>
const { spawnSync } = require('node:child_process')
const { copyFileSync, mkdirSync } = require('node:fs')
const { dirname, join, resolve } = require('node:path')

const [product, arch] = process.argv.slice(2)
if (!product || !arch) throw new Error('usage: cmake-from-gyp.cjs <product folder> <architecture>')

const root = resolve(__dirname, '..')
const build = join(root, 'build-cmake')
const command = [findCmakeJs(), 'compile', '-d', root, '-O', build, '--arch', arch]
// What is shipped needs no device for tests, and machine code for every GPU.
command.push('--CDICONFACE_EMULATOR=OFF', '--CDICONFACE_ALL_ARCHS=ON')
const { status, error } = spawnSync(process.execPath, command, { stdio: 'inherit' })
if (error) throw error
if (status === 0) {
  mkdirSync(product, { recursive: true })
  copyFileSync(join(build, 'Release', 'iconface.node'), join(product, 'iconface.node'))
}
process.exitCode = status ?? 1

function findCmakeJs() {
  try {
    return join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js')
  } catch (cause) {
    throw new Error('building needs cmake-js: npm install --save-dev cmake-js node-addon-api', { cause })
  }
}
