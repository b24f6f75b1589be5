/** What the parts of the soak share: pictures, measures of this process, models, and programs run as children. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import v8 from 'node:v8'
import vm from 'node:vm'

export const require = createRequire(import.meta.url)
export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
export const dist = (file) => path.join(ROOT, 'dist', file)
export const { IConFace, allocateImage } = require(dist('index.js'))
export const { loadAddon } = require(dist('native.js'))

/** Instrumented builds hold memory back, so what the system counts says nothing there. */
export const SANITIZED = process.env.ICONFACE_SANITIZED === '1'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc')

/** Mulberry32, a generator of whole numbers below a limit: the same runs every time. */
export function generator(seed) {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

export function picture(seed, side = 48) {
  const random = generator(seed)
  const image = allocateImage(side, side)
  for (let i = 0; i < image.data.length; i++) image.data[i] = 100 + 60 * Math.sin((i * seed) / 301) + random(32)
  return image
}

export const input = picture(1)
export const references = [picture(2), picture(3)]
export const QUICK = { steps: 2, size: 32 }
export const SMALLEST = { size: 16, steps: 1, guidance: 1 }

export const round = (x, digits = 3) => Number(x.toFixed(digits))
export const quantile = (list, q) =>
  [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(q * list.length))]
export const MiB = (bytes) => `${round(bytes / 2 ** 20, 1)} MiB`
export const codeOf = (error) => error?.code ?? String(error)
export const sameBytes = (a, b) => Buffer.compare(a, b) === 0

/** Resident bytes after a collection. */
export const rss = () => (collect(), process.memoryUsage.rss())
export const threads = () => fs.readdirSync('/proc/self/task').length
export const handles = () => fs.readdirSync('/proc/self/fd').length

/** Bytes that the core holds, of the process and of devices. */
export function held() {
  const { heldBytes, deviceHeldBytes } = loadAddon().info().memory
  return heldBytes + deviceHeldBytes
}

/** The highest resident size since {@link resetHighWater}. */
export const highWater = () => 1024 * Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1])
export const resetHighWater = () => fs.writeFileSync('/proc/self/clear_refs', '5')

/** Least squares: change of y per x. */
export function slope(points) {
  const mean = (k) => points.reduce((sum, p) => sum + p[k], 0) / points.length
  const [x, y] = [mean(0), mean(1)]
  return points.reduce((s, p) => s + (p[0] - x) * (p[1] - y), 0) / points.reduce((s, p) => s + (p[0] - x) ** 2, 0)
}

const models = []

/** Models of the part that runs; {@link disposeModels} ends them with it. */
export async function load(folder, options) {
  const model = await IConFace.load(folder, options)
  models.push(model)
  return model
}

export async function disposeModels() {
  for (const model of models.splice(0)) await model.dispose()
}

/** The soak again, as a child that does one thing; resolves to how it ended. */
export function child(name, folder, extra = [], { whenBusy = () => {}, env = {} } = {}) {
  const program = [path.join(ROOT, 'tools', 'soak', 'main.mjs'), '--child', name, '--folder', folder, ...extra]
  const running = spawn(process.execPath, program, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  let stdout = ''
  running.stdout.on('data', (text) => {
    if (stdout === '') whenBusy(running)
    stdout += text
  })
  return new Promise((resolve) => running.on('close', (code, signal) => resolve({ code, signal, stdout })))
}

/** What a child printed last, as JSON; `{}` when it died before. */
export function lastLine(stdout) {
  const line = stdout.trimEnd().split('\n').at(-1)
  return line?.startsWith('{') ? JSON.parse(line) : {}
}
