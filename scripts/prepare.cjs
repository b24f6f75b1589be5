// Run by npm after an install in a clone: builds the package. npx runs it before every command too, where what is built
// serves.
const { execSync } = require('node:child_process')
const { existsSync } = require('node:fs')
const { join } = require('node:path')

const built = existsSync(join(__dirname, '..', 'dist', 'cli', 'main.js'))
if (!(process.env.npm_command === 'exec' && built)) execSync('npm run build', { stdio: 'inherit' })
