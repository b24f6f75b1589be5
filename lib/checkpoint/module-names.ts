/**
 * The modules of FLUX.2's transformer under every name they have: Black Forest Labs' (which are the canonical ones),
 * the diffusers library's, XLabs', and all of them with some or all dots turned into underscores, as kohya's trainers
 * (`double_blocks_0_img_attn_qkv`) and musubi-tuner's converter (`double_blocks.0.img_attn_qkv`) write them.
 */

/**
 * Which rows of a canonical matrix a published one holds: it is cut into as many equal pieces as `pieces` has numbers,
 * and its i-th piece is number `pieces[i]` of the `of` equal pieces of the canonical matrix.
 */
export interface Rows {
  readonly pieces: readonly number[]
  readonly of: number
}

/** A published module: its canonical name, and the rows it holds of it where those are not simply all in order. */
export interface Module {
  readonly name: string
  readonly rows: Rows | undefined
  /** It is the first rows of the matrix, those of q, k and v: three times as many as the matrix is wide. */
  readonly qkv?: boolean
}

/** The first, second and third of the three: q, k and v, which diffusers keeps apart. */
const [Q, K, V] = [0, 1, 2].map((piece): Rows => ({ pieces: [piece], of: 3 })) as [Rows, Rows, Rows]

/** diffusers stores scale before shift in the last layer, Black Forest Labs shift before scale. */
const SWAPPED: Rows = { pieces: [1, 0], of: 2 }

/** diffusers' name, the canonical name, and which rows; `#` is the number of a block. */
const MODULES: readonly (readonly [diffusers: string, canonical: string, rows?: Rows])[] = [
  ['x_embedder', 'img_in'],
  ['context_embedder', 'txt_in'],
  ['time_guidance_embed.timestep_embedder.linear_1', 'time_in.in_layer'],
  ['time_guidance_embed.timestep_embedder.linear_2', 'time_in.out_layer'],
  ['time_guidance_embed.guidance_embedder.linear_1', 'guidance_in.in_layer'],
  ['time_guidance_embed.guidance_embedder.linear_2', 'guidance_in.out_layer'],
  ['double_stream_modulation_img.linear', 'double_stream_modulation_img.lin'],
  ['double_stream_modulation_txt.linear', 'double_stream_modulation_txt.lin'],
  ['single_stream_modulation.linear', 'single_stream_modulation.lin'],
  ['norm_out.linear', 'final_layer.adaLN_modulation.1', SWAPPED],
  ['proj_out', 'final_layer.linear'],
  ['transformer_blocks.#.attn.to_q', 'double_blocks.#.img_attn.qkv', Q],
  ['transformer_blocks.#.attn.to_k', 'double_blocks.#.img_attn.qkv', K],
  ['transformer_blocks.#.attn.to_v', 'double_blocks.#.img_attn.qkv', V],
  ['transformer_blocks.#.attn.norm_q', 'double_blocks.#.img_attn.norm.query_norm'],
  ['transformer_blocks.#.attn.norm_k', 'double_blocks.#.img_attn.norm.key_norm'],
  ['transformer_blocks.#.attn.to_out.0', 'double_blocks.#.img_attn.proj'],
  ['transformer_blocks.#.ff.linear_in', 'double_blocks.#.img_mlp.0'],
  ['transformer_blocks.#.ff.linear_out', 'double_blocks.#.img_mlp.2'],
  ['transformer_blocks.#.attn.add_q_proj', 'double_blocks.#.txt_attn.qkv', Q],
  ['transformer_blocks.#.attn.add_k_proj', 'double_blocks.#.txt_attn.qkv', K],
  ['transformer_blocks.#.attn.add_v_proj', 'double_blocks.#.txt_attn.qkv', V],
  ['transformer_blocks.#.attn.norm_added_q', 'double_blocks.#.txt_attn.norm.query_norm'],
  ['transformer_blocks.#.attn.norm_added_k', 'double_blocks.#.txt_attn.norm.key_norm'],
  ['transformer_blocks.#.attn.to_add_out', 'double_blocks.#.txt_attn.proj'],
  ['transformer_blocks.#.ff_context.linear_in', 'double_blocks.#.txt_mlp.0'],
  ['transformer_blocks.#.ff_context.linear_out', 'double_blocks.#.txt_mlp.2'],
  ['single_transformer_blocks.#.attn.to_qkv_mlp_proj', 'single_blocks.#.linear1'],
  ['single_transformer_blocks.#.attn.to_out', 'single_blocks.#.linear2'],
  ['single_transformer_blocks.#.attn.norm_q', 'single_blocks.#.norm.query_norm'],
  ['single_transformer_blocks.#.attn.norm_k', 'single_blocks.#.norm.key_norm'],
]

/** XLabs' names, which stand for the processors of attention, and the canonical ones. */
const XLABS: readonly (readonly [xlabs: string, canonical: string])[] = [
  ['double_blocks.#.processor.qkv_lora1', 'double_blocks.#.img_attn.qkv'],
  ['double_blocks.#.processor.proj_lora1', 'double_blocks.#.img_attn.proj'],
  ['double_blocks.#.processor.qkv_lora2', 'double_blocks.#.txt_attn.qkv'],
  ['double_blocks.#.processor.proj_lora2', 'double_blocks.#.txt_attn.proj'],
  ['single_blocks.#.processor.qkv_lora', 'single_blocks.#.linear1'],
  ['single_blocks.#.processor.proj_lora', 'single_blocks.#.linear2'],
]

/**
 * How large the canonical matrices are, in rows and columns, as multiples of the hidden size; `undefined` for sizes of
 * their own. `#` is the number of a block, `*` is img or txt.
 */
const MATRICES = new Map<string, readonly [rows: number | undefined, columns: number | undefined]>([
  ['img_in', [1, undefined]],
  ['txt_in', [1, undefined]],
  ['time_in.in_layer', [1, undefined]],
  ['time_in.out_layer', [1, 1]],
  ['double_stream_modulation_*.lin', [6, 1]],
  ['single_stream_modulation.lin', [3, 1]],
  ['double_blocks.#.*_attn.qkv', [3, 1]],
  ['double_blocks.#.*_attn.proj', [1, 1]],
  ['double_blocks.#.*_mlp.0', [undefined, 1]],
  ['double_blocks.#.*_mlp.2', [1, undefined]],
  ['single_blocks.#.linear1', [undefined, 1]],
  ['single_blocks.#.linear2', [1, undefined]],
  ['final_layer.adaLN_modulation.1', [2, 1]],
  ['final_layer.linear', [undefined, 1]],
])

/** {@link MATRICES} of a canonical name; `undefined` for what is no matrix of a [klein] transformer. */
export function matrixShape(
  name: string,
): readonly [rows: number | undefined, columns: number | undefined] | undefined {
  return MATRICES.get(
    name
      .replace(/^(double|single)_blocks\.\d+\./, '$1_blocks.#.')
      .replace(/(^|[._])(img|txt)(?=[._](attn|mlp|lin)\b)/, '$1*'),
  )
}

type Entry = readonly [canonical: string, rows: Rows | undefined, qkv?: boolean]

/** By the name with `#` for numbers of blocks. */
const DIFFUSERS = new Map<string, Entry>(MODULES.map(([from, to, rows]) => [from, [to, rows]]))

/** By the flattened name, of every kind. */
const FLATTENED = new Map<string, Entry>([
  ...XLABS.map(([from, to]): [string, Entry] => [flatten(from), [to, undefined, to.endsWith('.linear1')]]),
  ...MODULES.map(([, to]): [string, Entry] => [flatten(to), [to, undefined]]),
  ...MODULES.map(([from, to, rows]): [string, Entry] => [flatten(from), [to, rows]]),
])

function flatten(name: string): string {
  return name.replaceAll('.', '_')
}

/** The module that diffusers calls `name`, or `undefined`. */
export function diffusersModule(name: string): Module | undefined {
  const [, prefix, block, rest] = /^((?:single_)?transformer_blocks)\.(\d+)\.(.+)$/.exec(name) ?? []
  return prefix === undefined ? found(DIFFUSERS.get(name), '') : found(DIFFUSERS.get(`${prefix}.#.${rest}`), block!)
}

/** The module that somebody calls `name`, or would if its underscores were dots. */
export function anyModule(name: string): Module | undefined {
  const [, prefix, block, rest] =
    /^((?:double|single|single_transformer|transformer)_blocks)_(\d+)_(.+)$/.exec(flatten(name)) ?? []
  const entry = prefix === undefined ? FLATTENED.get(flatten(name)) : FLATTENED.get(`${prefix}_#_${rest}`)
  return found(entry, block ?? '')
}

function found(entry: Entry | undefined, block: string): Module | undefined {
  if (!entry) return undefined
  const [canonical, rows, qkv] = entry
  return { name: canonical.replace('#', block), rows, ...(qkv ? { qkv } : {}) }
}

/** Whether some of `names` are those of a transformer as diffusers stores it. */
export function isDiffusers(names: Iterable<string>): boolean {
  for (const name of names) if (/^(single_)?transformer_blocks\.\d+\./.test(name)) return true
  return false
}
