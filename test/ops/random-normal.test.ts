// Standard normal noise as PyTorch's two generators make it.
import t from 'tap'
import { OpContext, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
import { elements, everyIsa, largestError, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

const { fround } = Math

// ---- the generators, from their publications, checked below against published values --------------------------------

function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(624)
  state[0] = seed
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1]! ^ (state[i - 1]! >>> 30)) + i
  let next = 624
  return () => {
    if (next === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i]! & 0x80000000) | (state[(i + 1) % 624]! & 0x7fffffff)
        state[i] = state[(i + 397) % 624]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
      }
      next = 0
    }
    let y = state[next++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }
}

function philox(counter: readonly bigint[], seed: bigint): number[] {
  const low = (x: bigint) => x & 0xffffffffn
  let [c0, c1, c2, c3] = counter as [bigint, bigint, bigint, bigint]
  let [k0, k1] = [low(seed), seed >> 32n]
  for (let round = 0; round < 10; round++) {
    const [a, b] = [0xd2511f53n * c0, 0xcd9e8d57n * c2]
    ;[c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, low(b), (a >> 32n) ^ c3 ^ k1, low(a)]
    ;[k0, k1] = [low(k0 + 0x9e3779b9n), low(k1 + 0xbb67ae85n)]
  }
  return [c0, c1, c2, c3].map(Number)
}

function torchCuda(seed: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const [x, y] = philox([0n, 0n, BigInt(i), 0n], seed) as [number, number]
    const u = fround(fround(fround(x) * 2 ** -32) + 2 ** -33)
    const step = fround(2 * Math.PI * 2 ** -32)
    const angle = fround(fround(fround(y) * step) + step / 2)
    return Math.sqrt(-2 * Math.log(u)) * Math.sin(angle)
  })
}

function torchCpu(seed: bigint, count: number): number[] {
  const next = mersenneTwister(Number(seed & 0xffffffffn))
  if (count < 16) {
    const uniform = () => {
      const high = BigInt(next())
      return Number(((high << 32n) | BigInt(next())) & ((1n << 53n) - 1n)) * 2 ** -53
    }
    const out: number[] = []
    while (out.length < count) {
      const angle = 2 * Math.PI * uniform()
      const radius = Math.sqrt(-2 * Math.log1p(-uniform()))
      out.push(radius * Math.cos(angle), radius * Math.sin(angle))
    }
    return out.slice(0, count)
  }
  const uniform = () => (next() & 0xffffff) * 2 ** -24
  const out = Array.from({ length: count }, uniform)
  const transform = (at: number) => {
    for (let i = at; i < at + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[i]!))
      const angle = fround(fround(2 * Math.PI) * out[i + 8]!)
      ;[out[i], out[i + 8]] = [radius * Math.cos(angle), radius * Math.sin(angle)]
    }
  }
  for (let at = 0; at + 16 <= count; at += 16) transform(at)
  if (count % 16 !== 0) {
    for (let i = count - 16; i < count; i++) out[i] = uniform()
    transform(count - 16)
  }
  return out
}

t.test('the references give the published values', async (t) => {
  const next = mersenneTwister(5489)
  for (let i = 1; i < 10000; i++) next()
  t.equal(next(), 4123659995, 'the 10000th of std::mt19937')
  t.strictSame(
    philox([0n, 0n, 0n, 0n], 0n),
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    'known answer of Random123',
  )
  // torch.manual_seed(42); torch.randn(6), and the first of torch.randn(16): in every tutorial.
  const rounded = (values: number[]) => values.map((v) => Math.round(v * 1e4) / 1e4)
  t.strictSame(rounded(torchCpu(42n, 6)), [0.3367, 0.1288, 0.2345, 0.2303, -1.1229, -0.1863])
  t.strictSame(rounded(torchCpu(42n, 16).slice(0, 4)), [1.9269, 1.4873, 0.9007, -2.1055])
})

// ---- tests ----------------------------------------------------------------------------------------------------------

const SEEDS = [0n, 42n, (1n << 40n) + 7n, (1n << 64n) - 1n]

t.test('against float64', async (t) => {
  const ops = new OpContext()
  for (const seed of SEEDS)
    for (const count of [1, 2, 3, 15, 16, 17, 31, 32, 33, 5000])
      for (const [generator, reference] of [
        ['torch-cuda', torchCuda],
        ['torch-cpu', torchCpu],
      ] as const) {
        const { out } = await ops.run('random_normal', {}, { seed: `${seed}`, generator, shape: [count] })
        const expected = reference(seed, count)
        const error = largestError(toFloat32(out), expected)
        t.ok(error < 6e-7, `${generator} seed ${seed}, ${count}: ${error.toExponential(1)}`)
      }
})

t.test('the first values of a seed, as PyTorch prints them', async (t) => {
  const ops = new OpContext()
  const first = async (seed: bigint, generator: 'torch-cuda' | 'torch-cpu', shape = [1024]) => {
    const { out } = await ops.run('random_normal', {}, { seed: `${seed}`, generator, shape })
    return [...toFloat32(out).subarray(0, 4)].map((v) => Math.round(v * 1e4) / 1e4)
  }
  t.strictSame(await first(0n, 'torch-cuda'), [-0.9247, -0.4253, -2.6438, 0.1452])
  t.strictSame(await first(42n, 'torch-cuda'), [0.194, 2.1614, -0.1721, 0.8491])
  t.strictSame(await first(0n, 'torch-cpu'), [-1.1258, -1.1524, -0.2506, -0.4339])
  t.strictSame(await first(42n, 'torch-cpu'), [1.9269, 1.4873, 0.9007, -2.1055])
  t.strictSame(await first(42n, 'torch-cpu', [6]), [0.3367, 0.1288, 0.2345, 0.2303])
  // Seeds of more than 32 bits: all 64 for one, the lower half for the other.
  t.strictSame(await first((1n << 64n) - 1n, 'torch-cuda'), [0.6323, 0.0335, 0.8391, -2.0635])
  t.strictSame(await first((1n << 64n) - 1n, 'torch-cpu'), [-2.6643, -1.091, 0.4514, 0.2284])
  t.strictSame(await first((1n << 32n) - 1n, 'torch-cpu'), [-2.6643, -1.091, 0.4514, 0.2284])
})

t.test('the shape only names the elements', async (t) => {
  const ops = new OpContext()
  for (const generator of ['torch-cuda', 'torch-cpu'] as const) {
    const flat = await ops.run('random_normal', {}, { seed: '1', generator, shape: [60] })
    const box = await ops.run('random_normal', {}, { seed: '1', generator, shape: [3, 4, 5] })
    t.strictSame(box.out.shape, [3, 4, 5])
    t.ok(sameBits(flat.out, box.out))
  }
})

t.test('the same bits on any instruction set, device and number of threads', async (t) => {
  const contexts = [...everyIsa().map(({ ops }) => ops), ...threadCounts()]
  for (const generator of ['torch-cuda', 'torch-cpu'] as const)
    for (const seed of SEEDS)
      for (const count of [1, 2, 3, 15, 16, 17, 32, 624, 1251]) {
        const params = { seed: `${seed}`, generator, shape: [count] }
        const [first, ...others] = await Promise.all(contexts.map((ops) => ops.run('random_normal', {}, params)))
        t.ok(
          others.every(({ out }) => sameBits(out, first!.out)),
          `${generator} seed ${seed}, ${count}`,
        )
      }
  for (const generator of ['torch-cuda', 'torch-cpu'] as const) {
    const params = { seed: '7', generator, shape: [20011] }
    const results = await Promise.all(contexts.map((ops) => ops.run('random_normal', {}, params)))
    for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
    const values = toFloat32(results[0]!.out)
    const mean = values.reduce((a, b) => a + b, 0) / values.length
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length
    t.ok(
      Math.abs(mean) < 0.03 && Math.abs(variance - 1) < 0.05,
      `mean ${mean.toFixed(3)}, variance ${variance.toFixed(3)}`,
    )
  }
})

for (const golden of references('iconface/randn.safetensors'))
  t.test(`as ${golden.source}`, async (t) => {
    const ops = new OpContext()
    for (const [name, { shape, data }] of golden.tensors) {
      const [, kind, seed] = /^output\.(\w+)\.seed(\d+)$/.exec(name) as unknown as [string, string, string]
      const generator = kind === 'torch_cuda' ? 'torch-cuda' : 'torch-cpu'
      const { out } = await ops.run('random_normal', {}, { seed, generator, shape })
      t.equal(toFloat32(out).length, elements(shape))
      const error = relativeError(toFloat32(out), data as Float32Array)
      t.ok(error < 1e-7, `${name}: ${error.toExponential(1)}`)
      const largest = largestError(toFloat32(out), data as Float32Array)
      t.ok(largest < 5e-7, `largest ${largest.toExponential(1)}`)
    }
  })

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('random_normal', {}, { seed: '-1', shape: [1] }), { code, message: /seed/ })
  await t.rejects(ops.run('random_normal', {}, { seed: `${1n << 64n}`, shape: [1] }), { code, message: /seed/ })
  await t.rejects(ops.run('random_normal', {}, { seed: '1', shape: [] }), { code, message: /shape/ })
})
