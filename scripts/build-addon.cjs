// Builds the addon: cmake-js with the settings of a preset.
//   node scripts/build-addon.cjs <preset of CMakePresets.json> [argument of cmake-js build...]
// --CDNAME=VALUE among the arguments goes before the preset's own value.
const { spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { dirname, join, resolve } = require('node:path')

const ROOT = resolve(__dirname, '..')

/** A preset's variables, those it inherits included. */
function variables(name, presets) {
  const preset = presets.find((one) => one.name === name)
  if (!preset) throw new Error(`no preset ${name}; there are: ${presets.map((one) => one.name).join(', ')}`)
  return { ...(preset.inherits && variables(preset.inherits, presets)), ...preset.cacheVariables }
}

function findCmakeJs() {
  try {
    return join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js')
  } catch (cause) {
    throw new Error('building needs cmake-js: npm install --save-dev cmake-js node-addon-api', { cause })
  }
}

/** @returns The exit code of cmake-js. */
function buildAddon(preset, more = []) {
  const { configurePresets } = JSON.parse(readFileSync(join(ROOT, 'CMakePresets.json'), 'utf8'))
  const settings = Object.entries(variables(preset, configurePresets))
    .filter(([name]) => !more.some((argument) => argument.startsWith(`--CD${name}=`)))
    .map(([name, value]) => `--CD${name}=${value}`)
  // A folder that is configured already keeps its settings unless it is told.
  for (const step of ['configure', 'build']) {
    const command = [findCmakeJs(), step, '-d', ROOT, ...settings, ...more]
    const { status, error } = spawnSync(process.execPath, command, { stdio: 'inherit' })
    if (error) throw error
    if (status !== 0) return status ?? 1
  }
  return 0
}

module.exports = { buildAddon }
if (require.main === module) {
  const [preset, ...more] = process.argv.slice(2)
  if (!preset) throw new Error('usage: build-addon.cjs <preset> [argument of cmake-js build...]')
  process.exitCode = buildAddon(preset, more)
}
