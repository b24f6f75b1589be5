// quantise_rows: rows as e4m3 and a scale each, against the definition, bit by bit; refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { e4m3, everywhere, quantised } from '../fixtures/e4m3'
import { everyGpu, needsEmulator, needsKernels, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const f16 = (shape: number[], bits: number[]): Tensor => ({ dtype: 'f16', shape, data: Uint16Array.from(bits) })

/** Rows that are all at a limit of something. */
const EDGES: Record<string, number[]> = {
  zeros: [0, -0, 0, 0],
  'one denormal': [2 ** -149, 0, 0, 0],
  denormals: [2 ** -127, -(2 ** -149), 3 * 2 ** -140, 0],
  'below the smallest scale': [447 * 2 ** -126, 2 ** -126, -(2 ** -130), 2 ** -136],
  'the largest f32': [3.4028234663852886e38, -3.4028234663852886e38, 1e38, 1],
  'ties to even': [448, 17, 19, 21],
  'ties below 2^-6': [448, 2 ** -10, 3 * 2 ** -10, -5 * 2 ** -10],
  'around 2^-6': [448, 2 ** -6, 2 ** -6 - 2 ** -10, 2 ** -6 - 2 ** -11],
  'more than 448 after dividing': [0.1, 0.1, -0.1, 0.0999999],
  negative: [-5, -4, -3, -1e-3],
  NaN: [1, NaN, 2, 0],
  Infinity: [1, 2, -Infinity, 0],
}

t.test('the same bits as the definition, at every limit', async (t) => {
  const rows = Object.values(EDGES)
  const x = f32([rows.length, 4], rows.flat())
  const expected = quantised(x.data as Float32Array, 4)
  for (const { where, ops } of await everywhere()) {
    const { out, scale } = await ops.run('quantise_rows', { x })
    t.strictSame([out.dtype, out.shape, scale.dtype, scale.shape], ['f8_e4m3', x.shape, 'f32', [rows.length, 1]])
    Object.keys(EDGES).forEach((name, row) => {
      t.strictSame(
        (out.data as Uint8Array).slice(4 * row, 4 * row + 4),
        expected.bits.slice(4 * row, 4 * row + 4),
        `${where}: ${name}`,
      )
      t.ok(Object.is(toFloat32(scale)[row], expected.scale[row]), `${where}: ${name}, its scale`)
    })
  }
})

t.test('every type and width', async (t) => {
  const { normal } = numbers(3)
  for (const { where, ops } of await everywhere())
    for (const [rows, k] of [
      [1, 1],
      [3, 7],
      [2, 8],
      [5, 40],
      [77, 33],
      [2, 4104],
    ] as const)
      for (const type of ['f32', 'bf16', 'f16'] as const) {
        const count = rows * k
        // As bits of f16: normal numbers of both signs, from 2^-14 to 2^9.
        const halves = Array.from({ length: count }, () => (Math.abs(Math.round(normal() * 9000)) % 0x5c00) + 0x400)
        const values = Float64Array.from({ length: count }, () => normal() * 10)
        const x = type === 'f16' ? f16([1, rows, k], halves) : { f32, bf16 }[type]([1, rows, k], values)
        const half = (bits: number) => 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024)
        const expected = quantised(type === 'f16' ? halves.map(half) : toFloat32(x), k)
        const { out, scale } = await ops.run('quantise_rows', { x })
        t.ok(Buffer.from(expected.bits).equals(out.data as Uint8Array), `${where}: ${rows} x ${k} of ${type}`)
        t.strictSame(toFloat32(scale), expected.scale)
      }
})

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(5).tensor([333, 70])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('quantise_rows', { x })))
  for (const { out, scale } of results) t.ok(sameBits(out, results[0]!.out) && sameBits(scale, results[0]!.scale))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('quantise_rows', { x: e4m3([1, 5], new Uint8Array(5)) }), { code, message: /x must be F32/ })
  await t.rejects(ops.run('quantise_rows', { x: f32([2, 0], []) }), { code, message: /not empty/ })
})

const needsBoth = { skip: needsKernels.skip || needsEmulator.skip }
t.test('a GPU that does not know e4m3 is named', needsBoth, async (t) => {
  for (const { ops } of (await everyGpu(['80'])).filter(({ gpu }) => gpu.startsWith('cuda-emulated')))
    await t.rejects(ops.run('quantise_rows', { x: f32([1, 2], [1, 2]) }), {
      code: 'ERR_ICONFACE_UNSUPPORTED',
      message: /compute capability 8\.9 .*sm_80.*use bf16/,
    })
})
