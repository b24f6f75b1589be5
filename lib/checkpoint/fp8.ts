/**
 * Weights in 8-bit floating point. Black Forest Labs' fp8 files store most matrices `<module>.weight` as F8_E4M3 beside
 * a number `<module>.weight_scale` (F32; one, or one per row) by which the values are to be multiplied, and an
 * `<module>.input_scale` that rounds activations, which bf16 arithmetic does not need. ComfyUI's older files say
 * `scale_weight` and `scale_input`. A weight without a scale is to be taken as it is.
 *
 * Such a file is not computed with as it is: `iconface convert` and `prepare` write it once more in bf16, which holds
 * every fp8 value exactly and a scaled one to 8 bits, and which then is mapped like any other (precision `fp8`
 * quantises that anew, with a scale for every row).
 */
import type { DType } from '../formats/dtype'
import type { NamedTensor, NamedTensors } from '../formats/named-tensors'
import { isBlockScale } from '../formats/quantised'
import { type RoundedDType, roundTensor } from '../formats/round'

/** What {@link separateScales} makes of the tensors of a file. */
export interface Scaled {
  /** All but the scales and what goes with them. */
  readonly tensors: NamedTensors
  /** The scale of a weight, by the weight's name. */
  readonly scales: NamedTensors
  /** Names of what bf16 arithmetic does not need. */
  readonly ignored: readonly string[]
  readonly problems: readonly string[]
}

export type Fp8 = 'F8_E4M3' | 'F8_E5M2'

export function isFp8(dtype: DType): dtype is Fp8 {
  return dtype === 'F8_E4M3' || dtype === 'F8_E5M2'
}

const SCALE = /^(.+)\.(?:weight_scale|scale_weight)$/
const UNUSED = /(?:^|\.)(?:input_scale|scale_input|comfy_quant|scaled_fp8)$/

/** Takes the scales out of the tensors of a file. */
export function separateScales(sources: NamedTensors): Scaled {
  const tensors: NamedTensors = new Map()
  const scales: NamedTensors = new Map()
  const ignored: string[] = []
  const problems: string[] = []
  for (const [name, tensor] of sources) {
    const [, module] = SCALE.exec(name) ?? []
    const weight = module === undefined ? undefined : sources.get(`${module}.weight`)
    if (UNUSED.test(name)) ignored.push(tensor.published)
    else if (!weight || !isFp8(weight.dtype) || isBlockScale(tensor)) tensors.set(name, tensor)
    else {
      const complaint =
        checkScale(tensor, weight) ?? (scales.has(`${module}.weight`) ? 'is the second scale' : undefined)
      if (complaint) problems.push(`${tensor.published} ${complaint} of ${weight.published}`)
      scales.set(`${module}.weight`, tensor)
      ignored.push(tensor.published)
    }
  }
  return { tensors, scales, ignored, problems }
}

function checkScale({ dtype, shape }: NamedTensor, weight: NamedTensor): string | undefined {
  const count = shape.reduce((a, b) => a * b, 1)
  if (dtype === 'F32' && (count === 1 || count === weight.shape[0])) return undefined
  return `is ${dtype} [${shape.join(', ')}], expected one F32 number, or one for each of the ${weight.shape[0]} rows`
}

/**
 * A matrix of fp8 values times its scales, in another type.
 *
 * @param bytes   all values of its `rows` rows
 * @param scales  one, or one per row
 * @param name    of the tensor, for messages
 */
export function dequantise(
  bytes: Uint8Array,
  dtype: Fp8,
  scales: Float32Array,
  rows: number,
  to: RoundedDType,
  name: string,
): Uint8Array {
  const length = scales.length === 1 ? bytes.length : bytes.length / rows
  const products = (i: number) => TABLES[dtype].map((x) => x * scales[i]!)
  if (to === 'BF16') {
    // 256 products are rounded for each scale, instead of every value.
    const out = new Uint16Array(bytes.length)
    for (let i = 0; i < scales.length; i++) translate(bytes, bfloat16(products(i), name), out, i * length, length)
    return new Uint8Array(out.buffer)
  }
  const out = new Float32Array(bytes.length)
  for (let i = 0; i < scales.length; i++) translate(bytes, products(i), out, i * length, length)
  return roundTensor(new Uint8Array(out.buffer), 'F32', to, name)
}

function translate<T extends Uint16Array | Float32Array>(
  bytes: Uint8Array,
  table: T,
  out: T,
  at: number,
  count: number,
) {
  for (let i = at; i < at + count; i++) out[i] = table[bytes[i]!]!
}

function bfloat16(values: Float32Array, name: string): Uint16Array {
  return new Uint16Array(roundTensor(new Uint8Array(values.buffer), 'F32', 'BF16', name).buffer)
}

/** The 256 values of each type. E4M3 has no infinity and one NaN of each sign; E5M2 is the upper byte of a binary16. */
const TABLES: Record<Fp8, Float32Array> = {
  F8_E4M3: Float32Array.from({ length: 256 }, (_, bits) =>
    minifloat(bits, 3, (bits & 0x7f) === 0x7f ? NaN : undefined),
  ),
  F8_E5M2: Float32Array.from({ length: 256 }, (_, bits) =>
    minifloat(bits, 2, (bits & 0x7c) !== 0x7c ? undefined : (bits & 3) === 0 ? Infinity : NaN),
  ),
}

/** The value of eight bits of which `mantissa` are fraction; `special` in place of what the exponent would make. */
function minifloat(bits: number, mantissa: number, special: number | undefined): number {
  const sign = bits & 0x80 ? -1 : 1
  if (special !== undefined) return sign * special
  const exponent = (bits & 0x7f) >> mantissa
  const fraction = bits & ((1 << mantissa) - 1)
  const bias = 2 ** (6 - mantissa) - 1
  const one = 1 << mantissa
  return sign * (exponent === 0 ? fraction : one + fraction) * 2 ** (Math.max(exponent, 1) - bias - mantissa)
}
