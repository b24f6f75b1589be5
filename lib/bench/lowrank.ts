/**
 * Benchmarks of the degraded cross-attention in rank space: what is made of the memory once for a restore, and what
 * every block does with it in every step.
 */

import { type Family, operation, random, reader, some } from './case'

/**
 * One block's keys and values. Counted: two projections of the memory, and for every head U_q^T U_k times one of them.
 */
export const lowrankMemory: Family = {
  name: 'lowrank_memory',
  axes: ['memory', 'heads', 'width', 'rank'],
  shapes: [[256, 24, 128, 16]],
  quick: [16, 2, 32, 4],
  precisions: ['f32'],
  make([tokens = 0, heads = 0, d = 0, rank = 0]) {
    const width = heads * d
    const memory = random('f32', [tokens, width])
    const [queryUp, keyUp] = [0, 1].map(() => random('bf16', [width, rank], 1 / Math.sqrt(rank))) as [Weight, Weight]
    const [keyDown, valueDown] = [0, 1].map(() => random('bf16', [rank, width], 1 / Math.sqrt(width))) as [
      Weight,
      Weight,
    ]
    const flops = 4 * tokens * width * rank + 2 * rank * rank * (width + tokens * heads)
    const [m, down] = [reader(memory), reader(keyDown)]
    const [query, key] = [reader(queryUp), reader(keyUp)]
    return operation(
      'lowrank_memory',
      { flops },
      { memory, queryUp, keyDown, keyUp, valueDown },
      { heads },
      {
        result: 'keys',
        *at() {
          for (const row of some(heads * tokens, 4)) {
            const [head, token] = [Math.floor(row / tokens), row % tokens]
            const projected = Array.from({ length: rank }, (_, r) => {
              let sum = 0
              for (let i = 0; i < width; i++) sum += m(token * width + i) * down(r * width + i)
              return sum
            })
            for (const r of some(rank, 4)) {
              let sum = 0
              for (let i = head * d; i < (head + 1) * d; i++)
                for (let s = 0; s < rank; s++) sum += query(i * rank + r) * key(i * rank + s) * projected[s]!
              yield [row * rank + r, sum / Math.sqrt(d)]
            }
          }
        },
      },
    )
  },
}
type Weight = ReturnType<typeof random>

/**
 * One block's cross-attention of image tokens to the degraded memory. In f32 arithmetic limits it, exponentials not
 * counted; products of bf16 on a GPU's tensor cores leave the memory: h is read and written.
 */
export const lowrankCrossAttention: Family = {
  name: 'lowrank_cross_attention',
  axes: ['tokens', 'heads', 'width', 'memory', 'rank'],
  shapes: [[1024, 24, 128, 256, 16]],
  gpuShapes: [
    [4096, 24, 128, 256, 16],
    [6144, 24, 128, 256, 16],
    [10240, 24, 128, 256, 16],
  ],
  quick: [24, 2, 32, 16, 4],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, heads = 0, d = 0, memory = 0, rank = 0], precision) {
    const width = heads * d
    const h = random('f32', [1, tokens, width])
    const queryDown = random('bf16', [rank, width], 1 / Math.sqrt(width))
    const keys = random('f32', [heads, memory, rank])
    const values = random('f32', [memory, rank])
    const valueUp = random('bf16', [width, rank], 1 / Math.sqrt(rank))
    const flops = tokens * (4 * width * rank + 4 * heads * memory * rank)
    const work = precision === 'bf16' ? { bytes: 8 * tokens * width } : { flops }
    const tensors = { h, queryDown, keys, values, valueUp }
    const [x, down, up] = [reader(h), reader(queryDown), reader(valueUp)]
    const [key, value] = [reader(keys), reader(values)]
    return operation(
      'lowrank_cross_attention',
      work,
      tensors,
      { gate: 0.25, compute: precision },
      {
        result: 'h',
        *at() {
          for (const token of some(tokens, 4)) {
            const row = Array.from({ length: width }, (_, i) => x(token * width + i))
            const mean = row.reduce((a, b) => a + b, 0) / width
            const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / width
            const normed = row.map((value) => (value - mean) / Math.sqrt(variance + 1e-6))
            const query = Array.from({ length: rank }, (_, r) =>
              normed.reduce((sum, value, i) => sum + value * down(r * width + i), 0),
            )
            for (const i of some(width, 16)) {
              const head = Math.floor(i / d)
              let [total, sum] = [0, 0]
              for (let m = 0; m < memory; m++) {
                const score = query.reduce((s, value, r) => s + value * key((head * memory + m) * rank + r), 0)
                const weight = Math.exp(score)
                total += weight
                for (let r = 0; r < rank; r++) sum += weight * value(m * rank + r) * up(i * rank + r)
              }
              yield [token * width + i, row[i]! + (0.25 * sum) / total]
            }
          }
        },
      },
    )
  },
}
