// LayerNorm with modulation: statistics, memory types, segments, threads, refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everywhere } from '../fixtures/e4m3'
import {
  everyGpu,
  everyIsa,
  needsEmulator,
  needsKernels,
  numbers,
  relativeError,
  sameBits,
  threadCounts,
} from '../fixtures/tensors'

interface Segment {
  rows: number
  shift: Tensor
  scale: Tensor
}

/** The definition, in float64. */
function reference(x: Tensor, segments: Segment[]): Float64Array {
  const [batch, tokens, width] = x.shape as [number, number, number]
  const values = toFloat32(x)
  const owners = segments.flatMap((segment) => Array<Segment>(segment.rows).fill(segment))
  const out = new Float64Array(values.length)
  for (let row = 0; row < batch * tokens; row++) {
    const v = Float64Array.from(values.subarray(row * width, (row + 1) * width))
    const mean = v.reduce((a, b) => a + b, 0) / width
    const variance = v.reduce((a, b) => a + (b - mean) ** 2, 0) / width
    const owner = owners[row % tokens]
    for (let c = 0; c < width; c++) {
      const y = (v[c]! - mean) / Math.sqrt(variance + 1e-6)
      out[row * width + c] = owner ? y * (1 + toFloat32(owner.scale)[c]!) + toFloat32(owner.shift)[c]! : y
    }
  }
  return out
}

/** shift0.., scale0.. and rows, as the operation takes them. */
function named(segments: Segment[]): { vectors: Record<string, Tensor>; rows: number[] } {
  const vectors = segments.flatMap(
    ({ shift, scale }, i) =>
      [
        [`shift${i}`, shift],
        [`scale${i}`, scale],
      ] as const,
  )
  return { vectors: Object.fromEntries(vectors), rows: segments.map(({ rows }) => rows) }
}

// [batch, tokens, D] and the tokens of every segment; none: no modulation.
const CASES: [[number, number, number], number[]][] = [
  [[1, 1, 1], [1]],
  [[1, 1, 5], []],
  [
    [2, 7, 67],
    [3, 4],
  ],
  [
    [3, 5, 128],
    [1, 0, 2, 2],
  ],
  [[2, 13, 1031], [13]],
  [
    [1, 40, 3072],
    [17, 23],
  ],
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [shape, rows] of CASES) {
      for (const offset of [0, 100]) {
        const x = random.tensor(shape, () => offset + random.normal())
        const vector = () => random.tensor([shape[2]])
        const segments = rows.map((n) => ({ rows: n, shift: vector(), scale: vector() }))
        const { vectors, rows: counts } = named(segments)
        for (const input of [x, bf16(shape, toFloat32(x))])
          for (const outDtype of ['f32', 'bf16'] as const) {
            const params = rows.length > 0 ? { rows: counts, outDtype } : { outDtype }
            const { out } = await ops.run('layer_norm_modulate', { x: input, ...vectors }, params)
            t.equal(out.dtype, outDtype)
            t.strictSame(out.shape, shape)
            const error = relativeError(toFloat32(out), reference(input, segments))
            // With mean 100 the subtraction itself costs a factor of 100 of float32's 6e-8.
            const limit = outDtype === 'bf16' ? 4e-3 : offset > 0 ? 1e-5 : 3e-7
            t.ok(error < limit, `${input.dtype} -> ${outDtype} [${shape}], mean ${offset}: ${error.toExponential(1)}`)
          }
      }
    }
  })
}

t.test('without rows one vector serves all tokens', async (t) => {
  const random = numbers(2)
  const [x, shift0, scale0] = [random.tensor([2, 3, 8]), random.tensor([8]), random.tensor([8])]
  const ops = new OpContext()
  const without = await ops.run('layer_norm_modulate', { x, shift0, scale0 })
  const withRows = await ops.run('layer_norm_modulate', { x, shift0, scale0 }, { rows: [3] })
  t.ok(sameBits(without.out, withRows.out))
})

t.test('rows that are constant, tiny or zero give the shift, not NaN', async (t) => {
  const x = f32(
    [1, 3, 64],
    Float64Array.from({ length: 192 }, (_, i) => (i < 64 ? 7.25 : i < 128 ? 0 : 1e-30 * (i % 5))),
  )
  const [shift0, scale0] = [numbers(3).tensor([64]), f32([64], new Float64Array(64))]
  const { out } = await new OpContext().run('layer_norm_modulate', { x, shift0, scale0 })
  t.ok(
    relativeError(
      toFloat32(out),
      [0, 1, 2].flatMap(() => [...toFloat32(shift0)]),
    ) < 1e-6,
  )
})

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(4)
  const [x, shift0, scale0] = [random.tensor([2, 97, 512]), random.tensor([512]), random.tensor([512])]
  const results = await Promise.all(threadCounts().map((ops) => ops.run('layer_norm_modulate', { x, shift0, scale0 })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('e4m3: what it writes is what quantise_rows makes of its result', async (t) => {
  for (const { where, ops } of await everywhere())
    for (const [shape, rows] of [
      [
        [2, 7, 67],
        [3, 4],
      ],
      [[1, 5, 40], []],
      [[1, 3, 3072], [3]],
      [
        [1, 2, 9000],
        [1, 1],
      ], // more than the threads of a block hold
    ] as const) {
      const random = numbers(shape[2])
      const width = shape[2]
      const vectors = Object.fromEntries(
        rows.flatMap((_, i) => ['shift', 'scale'].map((name) => [`${name}${i}`, random.tensor([width])])),
      )
      for (const make of [f32, bf16]) {
        const x = make([...shape], random.tensor([...shape], () => 3 + random.normal()).data as Float32Array)
        const params = rows.length > 0 ? { rows: [...rows] } : {}
        const plain = await ops.run('layer_norm_modulate', { x, ...vectors }, { ...params, outDtype: 'f32' })
        const expected = await ops.run('quantise_rows', { x: plain.out })
        const { out, outScale } = await ops.run(
          'layer_norm_modulate',
          { x, ...vectors },
          { ...params, outDtype: 'f8_e4m3' },
        )
        // Sums over rows may be taken in another order: a scale may differ in its last bits, a number by one step.
        const [codes, others] = [out.data as Uint8Array, expected.out.data as Uint8Array]
        const steps = Array.from(codes, (code, i) => Math.abs(code - others[i]!))
        const what = `${where}: ${make.name} [${shape}]`
        t.ok(relativeError(toFloat32(outScale!), toFloat32(expected.scale)) < 1e-6, what)
        t.ok(Math.max(...steps) <= 1 && steps.filter((step) => step > 0).length <= codes.length / 200, what)
        t.strictSame([out.dtype, outScale!.shape], ['f8_e4m3', [shape[0], shape[1], 1]])
      }
    }
})

const needsBoth = { skip: needsKernels.skip || needsEmulator.skip }
t.test('a GPU that does not know e4m3 is named', needsBoth, async (t) => {
  for (const { ops } of (await everyGpu(['80'])).filter(({ gpu }) => gpu.startsWith('cuda-emulated')))
    await t.rejects(ops.run('layer_norm_modulate', { x: f32([1, 1, 2], [1, 2]) }, { outDtype: 'f8_e4m3' }), {
      code: 'ERR_ICONFACE_UNSUPPORTED',
      message: /compute capability 8\.9 .*sm_80.*use bf16/,
    })
})

t.test('refusals', async (t) => {
  const random = numbers(5)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const [x, vector] = [random.tensor([1, 4, 6]), random.tensor([6])]
  const both = { x, shift0: vector, scale0: vector }
  await t.rejects(ops.run('layer_norm_modulate', { x: random.tensor([4, 6]) }), {
    code,
    message: /x must be .* F32 \[4, 6\]/,
  })
  await t.rejects(ops.run('layer_norm_modulate', both, { rows: [3] }), { code, message: /4 tokens, not 3/ })
  await t.rejects(ops.run('layer_norm_modulate', both, { rows: [-1] }), { code, message: /rows but received -1/ })
  await t.rejects(ops.run('layer_norm_modulate', { x, shift0: vector }), { code, message: /1 and 0 segments/ })
  await t.rejects(ops.run('layer_norm_modulate', { ...both, scale0: random.tensor([5]) }), {
    code,
    message: /scale0 must be F32 \[6\], not F32 \[5\]/,
  })
})
