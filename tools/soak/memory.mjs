/** Memory over many calls, over many loads, and against the estimate. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  child,
  handles,
  held,
  highWater,
  IConFace,
  input,
  lastLine,
  load,
  loadAddon,
  MiB,
  picture,
  quantile,
  QUICK,
  references,
  resetHighWater,
  round,
  rss,
  SANITIZED,
  slope,
  SMALLEST,
  threads,
} from './tools.mjs'

export const parts = {
  restores: {
    what: 'small restores, memory per call',
    say: (r) =>
      `${r.calls} calls, ${r.rssBytesPerCall} bytes a call after ${r.warm}; ${r.threads} threads and ${r.handles} open files throughout`,
    async run(folder, times) {
      const calls = times(10_000)
      const warm = Math.min(500, calls >> 2)
      const model = await load(folder, { threads: 1 })
      const points = []
      let before
      for (let i = 1; i <= calls; i++) {
        await model.restore(input, [], { ...SMALLEST, seed: i })
        if (i < warm || i % Math.max(1, Math.min(50, calls >> 4)) !== 0) continue
        points.push([i, rss()])
        before ??= { threads: threads(), handles: handles(), held: held() }
      }
      const after = { threads: threads(), handles: handles(), held: held() }
      const rssBytesPerCall = round(slope(points), 1)
      const constant = JSON.stringify(before) === JSON.stringify(after)
      const flat = SANITIZED || calls < 2000 || rssBytesPerCall <= 1024 // few calls measure V8's warming up
      return { calls, warm, rssBytesPerCall, constant, ...after, ok: flat && constant }
    },
  },

  loads: {
    what: 'load, restore, dispose',
    say: (r) =>
      `${r.cycles} cycles, core holds ${r.held} bytes; resident ${MiB(r.rss.second)} after the second, ${MiB(r.rss.last)} at the end, ${r.changeFromHalfPercent} % over the second half`,
    async run(folder, times) {
      const cycles = times(100)
      const sizes = []
      let kept = 0
      for (let i = 0; i < cycles; i++) {
        const model = await IConFace.load(folder, { threads: 2 })
        await model.restore(input, references, QUICK)
        await model.dispose()
        kept = Math.max(kept, held())
        sizes.push(rss())
      }
      // V8's heap and code grow during the first dozens of cycles whatever they do: halves are compared.
      const middle = (from, to) => quantile(sizes.slice(Math.floor(from * cycles), Math.ceil(to * cycles)), 0.5)
      const [second, half, last] = [sizes[Math.min(1, cycles - 1)], middle(0.5, 0.6), middle(0.9, 1)]
      const changeFromHalfPercent = round((100 * (last - half)) / half, 2)
      const flat = SANITIZED || cycles < 50 || changeFromHalfPercent <= 2
      return { cycles, rss: { second, half, last }, changeFromHalfPercent, held: kept, ok: flat && kept === 0 }
    },
  },

  peak: {
    what: 'the estimate against the resident peak',
    say: (r) =>
      r.jobs
        .map(
          (j) =>
            `${j.device} ${j.size} px, ${j.references} references: ${MiB(j.measured)} of ${MiB(j.estimate)}, ${round(100 * (j.ratio - 1), 1)} %`,
        )
        .join('; '),
    async run(folder, times) {
      const jobs = []
      // A process each: what one job took and gave back would be another's for nothing.
      for (const job of ['cpu,512,0', 'cpu,512,3', 'cpu,1024,1', 'cuda-emulated,64,1'].slice(0, times(4)))
        jobs.push(lastLine((await child('peak', folder, ['--file', job])).stdout))
      return { jobs, ok: SANITIZED || jobs.every(({ ratio }) => Math.abs(ratio - 1) <= 0.05) }
    },
  },
}

export const children = {
  async peak({ folder, file }) {
    const [device, size, count] = file.split(',')
    const job = { size: Number(size), steps: 1 }
    const model = await load(folder, { device, threads: 1 })
    await model.restore(input, references, SMALLEST) // maps what every job uses, grows V8's heap
    while (loadAddon().info().memory.keptBytes > 0) await sleep(100)
    const before = rss()
    resetHighWater()
    const pictures = Array.from({ length: Number(count) }, (_, i) => picture(i + 2))
    const heldBefore = held()
    let most = 0
    const onProgress = () => (most = Math.max(most, held() - heldBefore))
    await model.restore(input, pictures, { ...job, onProgress })
    const { workspace } = model.estimate({ references: pictures.length, ...job })
    // The emulator's own memory, stacks of thousands of threads, hides the device's in the resident size.
    const onDevice = device !== 'cpu'
    const measured = onDevice ? most : highWater() - before
    const estimate = onDevice ? workspace : workspace + job.size ** 2 * 3 // and the result itself
    console.log(
      JSON.stringify({
        device,
        ...job,
        references: pictures.length,
        estimate,
        measured,
        ratio: round(measured / estimate),
      }),
    )
  },
}
