/** The check values of the weight formula. */
import type { Json } from './golden'
import { fnv1a64, formulaValues, splitMix64, uniform } from './formula'
import type { Run } from './run'
import { LIMITS } from './sheet'

interface TestValues {
  fnv1a64_hex: Record<string, string>
  splitmix64_seed0_first3_hex: string[]
  uniform: Record<string, { index: number[]; mixed_hex: string[]; value: number[] }>
  tensor_values: {
    hash_input: string
    shape: number[]
    scale: number
    offset: number
    index: number[]
    float32_value: number[]
  }[]
}

/** `formula_values`: hashes, mixed words, uniforms and final values, all exact. */
export function compareFormulaValues(json: Json, run: Run): Promise<void> {
  const { fnv1a64_hex, splitmix64_seed0_first3_hex, uniform: uniforms, tensor_values } = json as unknown as TestValues
  const hashes = Object.entries(fnv1a64_hex)
  run.verdict(
    'fnv1a64',
    hashes.every(([text, hex]) => fnv1a64(text) === BigInt(hex)),
    `${hashes.length} hashes`,
  )
  run.verdict(
    'splitmix64',
    splitmix64_seed0_first3_hex.every((hex, i) => mixed(0n, i).word === BigInt(hex)),
  )
  for (const [text, { index, mixed_hex, value }] of Object.entries(uniforms)) {
    const found = index.map((i) => mixed(fnv1a64(text), i))
    run.verdict(
      `mixed ${text}`,
      found.every(({ word }, i) => word === BigInt(mixed_hex[i]!)),
    )
    run.compare(
      `uniform ${text}`,
      found.map((each) => each.value),
      value,
      LIMITS.exact,
    )
  }
  for (const { hash_input: name, shape, scale, offset, index, float32_value } of tensor_values) {
    const found = index.map((i) => {
      const out = new Float32Array(1)
      formulaValues('', { name, shape, scale, offset }, i, out)
      return out[0]!
    })
    run.compare(`values ${name}`, found, float32_value, LIMITS.exact)
  }
  return Promise.resolve()
}

/** Number `i` of SplitMix64, whole and as a uniform. */
function mixed(seed: bigint, i: number): { word: bigint; value: number } {
  let found = { word: 0n, value: 0 }
  splitMix64(seed, i, 1, (upper, lower) => {
    found = { word: (BigInt(upper >>> 0) << 32n) | BigInt(lower >>> 0), value: uniform(upper) }
  })
  return found
}
