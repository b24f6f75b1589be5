/**
 * Quantisations that this package does not read (NF4, GPTQ, ...): recognised by the names and types of their scales,
 * for an error that names them.
 */
import type { DType } from './dtype'

interface Stored {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly published?: string
}

/** A name's end, and what may be said of the tensor that has it. */
type Mark = readonly [ending: RegExp, fits?: (tensor: Stored) => boolean]

/** Whether a scale is one of MXFP8's, which belong to blocks of 32 values. */
export const isBlockScale = ({ dtype, shape }: Stored) => dtype === 'F8_E8M0' || (dtype === 'U8' && shape.length === 2)
const isWhole = ({ dtype, shape }: Stored) =>
  (dtype === 'I8' || dtype === 'U8' || dtype === 'U32') && shape.length === 2

/** The kinds, each by the first mark that some tensor has; the more telling ones go first. */
const KINDS: readonly (readonly [kind: string, ...marks: Mark[]])[] = [
  [
    'NVFP4 (4 bits, scales by blocks)',
    [/\.weight_scale_2$/],
    [/\.weight_global_scale$/],
    [/\.weight$/, ({ dtype }) => dtype === 'F4'],
  ],
  ['MXFP8 or MXFP4 (scales by blocks)', [/\.weight_scale$/, isBlockScale]],
  ['fp8 with scales by blocks', [/\.weight_scale_inv$/, ({ shape }) => shape.length === 2 && shape[1]! > 1]],
  ['bitsandbytes NF4 or FP4 (4 bits)', [/\.quant_state\.bitsandbytes__\w+$/], [/\.(nested_)?(absmax|quant_map)$/]],
  ['bitsandbytes int8', [/\.SCB$/], [/\.weight_format$/]],
  ['SVDQuant (Nunchaku, 4 bits)', [/\.(wscales|smooth_factor|smooth_factor_orig|lora_down_quant)$/]],
  ['GPTQ or AWQ (4 bits)', [/\.(qweight|qzeros|g_idx)$/]],
  ['optimum-quanto', [/\.weight\._(data|scale|shift)$/]],
  ['torchao', [/\.weight(\.|_)(qdata|tensor_impl.*|int_data)$/], [/\._weight_(qdata|scale|zero_point)$/]],
  ['HQQ', [/\.W_q$/]],
  ['MLX (whole numbers with scales and biases)', [/\.biases$/], [/\.weight$/, ({ dtype }) => dtype === 'U32']],
  ['int8 or less (whole numbers with scales)', [/\.weight$/, isWhole]],
]

/** Characters of a name that are looked at: a damaged file may have names of megabytes. */
const LONGEST = 256

/** What keeps quantised weights from being used, as one sentence about all of them; `undefined` for others. */
export function quantisation(tensors: ReadonlyMap<string, Stored>): string | undefined {
  for (const [kind, ...marks] of KINDS) {
    for (const [ending, fits = () => true] of marks) {
      for (const [name, tensor] of tensors) {
        if (!ending.test(name.slice(-LONGEST)) || !fits(tensor)) continue
        return `its weights are quantised as ${kind}, which is not read (${tensor.published ?? name}): take the bf16 or fp8 file of the same model`
      }
    }
  }
  return undefined
}
