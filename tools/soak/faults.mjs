/** Every allocation and every CUDA call fails in turn, through loading, restoring, embedding and disposing. */
import fs from 'node:fs'
import path from 'node:path'
import { codeOf, held, IConFace, input, loadAddon, QUICK, references, sameBytes, SMALLEST } from './tools.mjs'

const OUT_OF_MEMORY = ['ERR_ICONFACE_OUT_OF_MEMORY']
const OF_A_DEVICE = [...OUT_OF_MEMORY, 'ERR_ICONFACE_CUDA', 'ERR_ICONFACE_DEVICE_UNAVAILABLE']

const say = (r) =>
  `${Object.entries(r.failures)
    .map(([job, n]) => `${n} in ${job}`)
    .join(', ')}; ${r.wrong.length} wrong (other codes, memory kept, or the next call not as before)`

/**
 * Lets one event of `work` fail, the first, then one `factor` times as late, until `work` has no more of them.
 *
 * @param fail  Makes the n-th event from now on fail. It gives how far off the one asked for before still was, or
 *              nothing where a failure always ends the work.
 * @param works Whether the next, undisturbed call gives what it must.
 * @returns     how many events failed
 */
async function inTurn({ fail, factor, codes, work, works, wrong }) {
  const before = held()
  for (let n = 1, failures = 0; ; n = Math.max(n + 1, Math.round(n * factor)), failures++) {
    fail(n)
    const end = await work().then(() => 'done', codeOf)
    const left = fail(0) ?? (end === 'done' ? 1 : 0)
    if (left > 0) return failures // there is no n-th
    // A thread less, a report of progress less: some failures cost nothing that was promised.
    if (end !== 'done' && !codes.includes(end)) wrong.push(`${n}: ${end}`)
    if (held() !== before) wrong.push(`${n}: ${held() - before} bytes are kept`)
    if (!(await works())) wrong.push(`${n}: the next call does not work`)
    if (wrong.length > 20) throw new Error(wrong.join('\n'))
  }
}

/** Failures of `fail` in all that a model on the CPU does, and of its whole life. */
async function onCpu(folder, fail, factor) {
  const model = await IConFace.load(folder, { threads: 2 })
  const expected = (await model.restore(input, references, QUICK)).data
  const restores = async (m) => sameBytes((await m.restore(input, references, QUICK)).data, expected)
  const wrong = []
  const common = { fail, factor, codes: OUT_OF_MEMORY, works: () => restores(model), wrong }
  const whole = async () => {
    const other = await IConFace.load(folder, { threads: 2 })
    try {
      await other.restore(input, references, SMALLEST)
    } finally {
      await other.dispose()
    }
  }
  const failures = {
    restore: await inTurn({ ...common, work: () => model.restore(input, references, QUICK) }),
    embed: await inTurn({ ...common, work: () => model.embed(input) }),
    'load, restore and dispose': await inTurn({ ...common, work: whole }),
  }
  await model.dispose()
  if (held() !== 0) wrong.push(`${held()} bytes are kept at the end`)
  return { failures, wrong, ok: wrong.length === 0 }
}

/** Every event at full scale, every fiftieth of the next size at half of it, a few of every size below. */
const factorOf = (times) => (times(1000) >= 1000 ? 1 : times(1000) >= 500 ? 1.02 : 1.5)

export const parts = {
  allocations: {
    what: "every allocation of the core's memory fails in turn",
    say,
    run: (folder, times) => onCpu(folder, loadAddon().failAllocation, factorOf(times)),
  },

  objects: {
    what: 'every `new` of the addon fails in turn, on every thread',
    say,
    run: (folder, times) => onCpu(folder, loadAddon().failNew, factorOf(times)),
  },

  calls: {
    what: 'every CUDA call, launch and device allocation fails in turn (emulated device)',
    say,
    async run(folder, times) {
      const device = 'cuda-emulated'
      const faceless = withoutFace(folder) // the face encoder costs the emulator more than all the rest
      const wrong = []
      const whole = async () => {
        const model = await IConFace.load(faceless, { device, threads: 2 })
        try {
          return (await model.restore(input, [], SMALLEST)).data
        } finally {
          await model.dispose()
        }
      }
      const expected = await whole()
      const works = async () => sameBytes(await whole(), expected)
      // The next life is tried after one failure of eight: it takes as long as the failing one.
      let tried = 0
      const common = { codes: OF_A_DEVICE, wrong, works: async () => tried++ % 8 !== 0 || works() }
      const { failCudaCall, failAllocation } = loadAddon()
      const factor = factorOf(times)
      const failures = {
        'CUDA calls of load, restore and dispose': await inTurn({ ...common, fail: failCudaCall, factor, work: whole }),
        allocations: await inTurn({ ...common, fail: failAllocation, factor, work: whole }),
      }
      return { failures, wrong, ok: wrong.length === 0 && held() === 0 }
    },
  },
}

/** The model without face encoder and adapter. */
function withoutFace(folder) {
  const copy = path.join(folder, 'faceless')
  fs.mkdirSync(copy, { recursive: true })
  for (const name of fs.readdirSync(folder).filter((name) => name.endsWith('.safetensors')))
    fs.copyFileSync(path.join(folder, name), path.join(copy, name))
  const { identity: _, adapter: __, ...rest } = JSON.parse(fs.readFileSync(path.join(folder, 'iconface.json'), 'utf8'))
  fs.writeFileSync(path.join(copy, 'iconface.json'), JSON.stringify(rest))
  return copy
}

export const children = {}
