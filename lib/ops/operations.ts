/**
 * Every operation's operands, parameters and results, by its name. What they compute is declared in `native/src/op`.
 */

import type { Result, Tensor } from './tensor'

type Float = 'f32' | 'bf16'

interface LinearTensors {
  x: Tensor
  weight: Tensor
  xScale?: Tensor
  weightScale?: Tensor
  bias?: Tensor
  out?: Tensor
  gate0?: Tensor
  gate1?: Tensor
  gate2?: Tensor
  gate3?: Tensor
  qScale?: Tensor
  kScale?: Tensor
  cos?: Tensor
  sin?: Tensor
}
interface LinearParams {
  activation?: 'none' | 'silu' | 'swiglu'
  accumulate?: boolean
  rows?: number[]
  qHeads?: number
  kHeads?: number
  outDtype?: Float
}
/** The same names with `_0` to `_3` behind them. */
type Numbered<T> = { [Name in keyof T as `${Name & string}_${0 | 1 | 2 | 3}`]?: T[Name] }

/**
 * Every operation: what goes in, what comes out. Tensors are row-major, and what is called "in place" is copied first:
 * the caller's operands stay as they are. Sections and equations are those of docs/model-specification.md.
 *
 * What an operation cannot take fails with `ERR_ICONFACE_INVALID_ARGUMENT` and a message that names the tensor or
 * parameter, what was expected and what was received: another type or shape than the one said here, an operand that is
 * missing, a name that the operation does not know. "Refused" lists what is refused beyond that.
 */
export interface Operations {
  /**
   * `out = epilogue(x W^T)`: a product of tokens `x` `[..., tokens, K]` (f32, bf16 or `f8_e4m3`) with `weight` `[N, K]`
   * (f32, bf16 or f16; `f8_e4m3` when x is), in x's type with sums in f32, to `out` `[..., tokens, N]` in `outDtype`
   * (x's type). The epilogue, in this order:
   *
   * - `bias` `[N]` f32;
   * - `activation`: `silu`, or `swiglu`, where W holds 2N rows and `out = silu(a) * b`;
   * - heads: the first `qHeads` and the next `kHeads` heads of columns, as wide as `cos` and `sin` `[tokens, d/2]` f32
   *   say, are normalised and rotated as {@link Operations.qk_norm_rope} does it with adjacent pairs, by `qScale` and
   *   `kScale` `[d]` f32;
   * - with `out` `[batch, tokens, N]` f32 given: `out += gate * value`, `gate0` to `gate3` `[N]` f32 for `rows` tokens
   *   each, or `out += value` (`accumulate`).
   *
   * `f8_e4m3` operands come with `xScale` `[..., tokens, 1]` and `weightScale` `[N, 1]` f32 as
   * {@link Operations.quantise_rows} makes them; `out` is then bf16 unless `outDtype` says otherwise. Refused: heads
   * beside an activation or an `out` that is added to, scales of operands that are not `f8_e4m3`, `rows` that do not
   * add up to the tokens; `ERR_ICONFACE_UNSUPPORTED`: `f8_e4m3` on a GPU of less than compute capability 8.9.
   * Source: model-specification.md 3 and 5.
   */
  linear: { tensors: LinearTensors; params: LinearParams; results: { out: Result } }
  /**
   * Up to four products at once, on a GPU in one launch: operands, parameters and results as those of
   * {@link Operations.linear}, with `_0` to `_3` behind their names. Refused: no product, and `x` of several types.
   */
  grouped_linear: {
    tensors: Numbered<LinearTensors>
    params: Numbered<LinearParams>
    results: Record<`out_${0 | 1 | 2 | 3}`, Result>
  }
  /**
   * Rows of `x` `[..., K]` (f32, bf16 or f16) as `out` `f8_e4m3` of the same shape and `scale` `[..., 1]` f32: `scale =
   * max(max |x| / 448, 2^-126)`, `out = x / scale`, rounded to nearest even. A row with an infinity or a NaN is NaN,
   * its scale too. Refused: an empty x; `ERR_ICONFACE_UNSUPPORTED`: a GPU of less than compute capability 8.9.
   */
  quantise_rows: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result; scale: Result } }
  /**
   * `(1 + scale) LN(x) + shift` of `x` `[batch, tokens, D]` (f32 or bf16), where LN has no affine part, divides by
   * `sqrt(variance + 1e-6)` and takes its statistics in f32. `shift0` to `shift3` and `scale0` to `scale3` `[D]` f32
   * belong to segments of `rows` tokens; without `rows` one vector serves all; without vectors it is plain LN. `out` is
   * x's shape in `outDtype` (x's type); with `f8_e4m3` quantised from f32 as by {@link Operations.quantise_rows}, with
   * `outScale` `[batch, tokens, 1]` f32. Refused: shift without scale, `rows` that do not add up to the tokens;
   * `ERR_ICONFACE_UNSUPPORTED`: `f8_e4m3` on a GPU of less than compute capability 8.9.
   * Source: model-specification.md 3 and 4.
   */
  layer_norm_modulate: {
    tensors: { x: Tensor } & Partial<Record<`${'shift' | 'scale'}${0 | 1 | 2 | 3}`, Tensor>>
    params: { rows?: number[]; outDtype?: Float | 'f8_e4m3' }
    results: { out: Result; outScale?: Result }
  }
  /**
   * `x / sqrt(mean(x^2) + 1e-6) * weight` over the last axis of `x` `[..., D]` (f32 or bf16), with `weight` `[D]` (f32,
   * bf16 or f16), computed in f32 and rounded once to `outDtype` (x's type). Refused: an x without a last axis, or one
   * of length 0.
   * Source: model-specification.md 7.
   */
  rms_norm: { tensors: { x: Tensor; weight: Tensor }; params: { outDtype?: Float }; results: { out: Result } }
  /**
   * RMSNorm of every head (eps 1e-6) times `qScale` or `kScale` `[d]` (f32, bf16 or f16), then rotation by the angles
   * of `cos` and `sin` `[tokens, d/2]` f32: `(e, o)` becomes `(cos e - sin o, sin e + cos o)`. `q` and `k` are `[batch,
   * tokens, H, d]` (f32 or bf16), either may be absent, and the results have their shape and type. Rotated together are
   * `adjacent` elements (FLUX.2, the default), or those half a head apart (`halves`, Qwen3). Refused: neither q nor k,
   * an odd d.
   * Source: model-specification.md 2, 3 and 7.
   */
  qk_norm_rope: {
    tensors: { q?: Tensor; k?: Tensor; qScale?: Tensor; kScale?: Tensor; cos: Tensor; sin: Tensor }
    params: { pairs?: 'adjacent' | 'halves' }
    results: { q: Result; k: Result }
  }
  /**
   * Rows of `table` `[V, D]` (f32, bf16 or f16) by `ids` `[tokens]` i32, as `out` `[tokens, D]` in `outDtype` (f32).
   * Refused: an id that is not 0 to V - 1, with its place.
   * Source: model-specification.md 7.
   */
  embedding: { tensors: { ids: Tensor; table: Tensor }; params: { outDtype?: Float }; results: { out: Result } }
  /**
   * Angles of rotary embedding as `cos` and `sin` `[tokens, d/2]` f32: `id_a * theta^(-2m / d_a)` radians for `ids`
   * `[tokens, axes]` (i32 or f32). Axis a owns `axesDim[a]` consecutive channels of a head, together d; theta is 2000
   * unless given; computed in float64. Refused: no axis or more than 8, an odd size, a theta that is not positive.
   * Source: model-specification.md 2.
   */
  rope_table: {
    tensors: { ids: Tensor }
    params: { axesDim: number[]; theta?: number }
    results: { cos: Result; sin: Result }
  }
  /**
   * Sinusoids of `1000 * timestep` as `out` `[dim]` f32, cosines first, with periods of up to 10000, computed in
   * float64; `timestep` is the flow's time, 1 for noise and 0 for the picture, `dim` 256 unless given. Refused: a
   * timestep that is not finite, an odd dim.
   * Source: model-specification.md 3.
   */
  timestep_embedding: {
    tensors: Record<never, never>
    params: { timestep: number; dim?: number }
    results: { out: Result }
  }
  /**
   * `x sigmoid(x)`, element by element, for `x` f32 of any shape; `out` has its shape. Infinity gives itself,
   * -Infinity and NaN give NaN. Refused: x of another type.
   * Source: model-specification.md 3.
   */
  silu: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result } }
  /**
   * `a + b`, element by element, for two f32 tensors of one shape, which `out` has too. Refused: two shapes, another
   * type.
   * Source: model-specification.md 4.
   */
  add: { tensors: { a: Tensor; b: Tensor }; params: Record<never, never>; results: { out: Result } }
  /**
   * `softmax(q k^T * scale) v` with scores and sums in f32; `scale` is `1 / sqrt(d)` unless given. Up to four segments
   * `q0`, `k0`, `v0` to `q3`, `k3`, `v3`, each `[tokens, H, d]` or `[batch, tokens, H, d]`, all f32 or all bf16:
   * queries see the keys of all segments, in order. A segment may lack its queries, or its keys and values. Items of a
   * batch do not see each other; what is read with one item serves all. k and v may have fewer heads, of which each
   * serves as many of q's. `causal` (one segment): query i sees keys 0 to i. `out0` to `out3` have the shape of their
   * queries, in `outDtype` (their type). Refused: no queries or no keys, heads that do not divide q's, several segments
   * with `causal`, a negative scale.
   * Source: model-specification.md 3, 5 and 7.
   */
  attention: {
    tensors: Partial<Record<`${'q' | 'k' | 'v'}${0 | 1 | 2 | 3}`, Tensor>>
    params: { scale?: number; causal?: boolean; outDtype?: Float }
    results: Record<`out${0 | 1 | 2 | 3}`, Result>
  }
  /**
   * The key and value side of one block's cross-attention to the degraded `memory` `[M, D]` f32, in rank space: `keys`
   * `[heads, M, r]` f32, `K_j = (down_k M) (U_qj^T U_kj)^T / sqrt(d)`, and `values` `[M, r]` f32, `V = down_v M`.
   * `queryUp` and `keyUp` are `[D, r]`, `keyDown` and `valueDown` `[r, D]` (f32, bf16 or f16). Refused: heads that do
   * not divide D.
   * Source: model-specification.md 5, Eq. 7.
   */
  lowrank_memory: {
    tensors: { memory: Tensor; queryUp: Tensor; keyDown: Tensor; keyUp: Tensor; valueDown: Tensor }
    params: { heads: number }
    results: { keys: Result; values: Result }
  }
  /**
   * `h += gate * concat_j(U_vj softmax(a K_j^T) V)` with `a = down_q LN(h)`: image tokens `h` `[batch, tokens, D]` f32
   * attend to the degraded memory in rank space. `keys` `[heads, M, r]` and `values` `[M, r]` f32 are those of
   * {@link Operations.lowrank_memory}; `queryDown` is `[r, D]`, `valueUp` `[D, r]` (f32, bf16 or f16); gate 1 unless
   * given. `compute`: exact in f32 (the default), or `bf16`, which lets a GPU's tensor cores multiply operands rounded
   * to it. Refused: heads that do not divide D.
   * Source: model-specification.md 5, Eq. 7.
   */
  lowrank_cross_attention: {
    tensors: { h: Tensor; queryDown: Tensor; keys: Tensor; values: Tensor; valueUp: Tensor }
    params: { gate?: number; compute?: Float }
    results: { h: Result }
  }
  /**
   * Tokens `x` `[rows * columns, D]` f32 minus the mean over the valid cells of their 3x3 window on the grid; `out` has
   * x's shape. Refused: a grid of other than x's tokens.
   * Source: model-specification.md 5.
   */
  token_detail: { tensors: { x: Tensor }; params: { rows: number; columns: number }; results: { out: Result } }
  /**
   * A grid of tokens `x` `[rowsX * columnsX, D]` f32 resized to `out` `[rowsOut * columnsOut, D]` f32: bilinear,
   * half-pixel centres, edges held. An equal grid gives the same bits. Refused: a grid of other than x's tokens.
   * Source: model-specification.md 5, Eq. 6.
   */
  resize_tokens: {
    tensors: { x: Tensor }
    params: { rowsX: number; columnsX: number; rowsOut: number; columnsOut: number }
    results: { out: Result }
  }
  /**
   * `out = PReLU(conv(x) + bias) + residual`, a cross-correlation as in PyTorch: `x` `[B, H, W, C]` (f32 or bf16) with
   * `weight` `[O, kh, kw, C]` (f32, bf16 or f16; {@link Operations.to_channels_last} makes it). Optional: `bias` and
   * `slope` `[O]` f32, `residual` f32 of out's shape, `stride` (1), `pad` in pixels of zeros (top, left, bottom, right;
   * none), `upsample` 2 (nearest neighbours, before the padding). `compute` is the type that is multiplied (x's), with
   * sums in f32; `out` `[B, H', W', O]` is in `outDtype` (x's). Refused: a weight larger than the padded x, a pad of
   * other than four numbers.
   * Source: model-specification.md 7.
   */
  conv2d: {
    tensors: { x: Tensor; weight: Tensor; bias?: Tensor; slope?: Tensor; residual?: Tensor }
    params: { stride?: number; pad?: number[]; upsample?: 1 | 2; compute?: Float; outDtype?: Float }
    results: { out: Result }
  }
  /**
   * A PyTorch convolution's `weight` `[O, C, kh, kw]` (f32, bf16 or f16) as `out` `[O, kh, kw, C]` in `outDtype` (f32),
   * times `scale[o]`, `[O]` f32, where it is given: a folded BatchNorm. Refused: a weight of another rank.
   * Source: model-specification.md 7.
   */
  to_channels_last: {
    tensors: { weight: Tensor; scale?: Tensor }
    params: { outDtype?: Float }
    results: { out: Result }
  }
  /**
   * GroupNorm, then SiLU unless `silu` is false: of `x` `[B, H, W, C]` (f32 or bf16) every one of `groups` (32) runs of
   * channels is normalised over all pixels by its mean and `sqrt(variance + eps)` (eps 1e-6), then `weight` and `bias`
   * `[C]` f32 apply. Statistics in f32 for pieces of the map, joined in float64. `out` has x's shape, in `outDtype`
   * (f32). Refused: groups that do not divide C, an eps that is negative or not finite, an empty map.
   * Source: model-specification.md 7.
   */
  group_norm_silu: {
    tensors: { x: Tensor; weight: Tensor; bias: Tensor }
    params: { groups?: number; eps?: number; silu?: boolean; outDtype?: Float }
    results: { out: Result }
  }
  /**
   * `x * scale + shift` per channel, then PReLU where `slope` is given: `x` `[B, H, W, C]` (f32 or bf16), the others
   * `[C]` f32. `out` has x's shape, in `outDtype` (f32). Of BatchNorm's stored statistics `scale = w / sqrt(var + eps)`
   * and `shift = b - mean * scale`. Refused: an empty map.
   * Source: model-specification.md 7.
   */
  batch_norm_prelu: {
    tensors: { x: Tensor; scale: Tensor; shift: Tensor; slope?: Tensor }
    params: { outDtype?: Float }
    results: { out: Result }
  }
  /**
   * Rows and columns 0, s, 2s, ... of a feature map `x` `[B, H, W, C]` (f32 or bf16), s the `stride` in pixels (2):
   * `out` `[B, ceil(H / s), ceil(W / s), C]` in x's type, the shortcut of AdaFace's blocks. Refused: a stride below 1,
   * an empty map.
   * Source: model-specification.md 7.
   */
  subsample: { tensors: { x: Tensor }; params: { stride?: number }; results: { out: Result } }
  /**
   * A convolution of every channel by itself, then PReLU where `slope` is given: `x` `[B, H, W, C]` f32 with `weight`
   * `[kh, kw, C]` f32, `bias` and `slope` `[C]` f32, `stride` (1) and `pad` (0) in pixels, zeros on every side; `out`
   * `[B, H', W', C]` f32. Refused: a pad of more than the kernel's larger side, a kernel larger than the padded x.
   * Source: model-specification.md 7.
   */
  depthwise_conv2d: {
    tensors: { x: Tensor; weight: Tensor; bias?: Tensor; slope?: Tensor }
    params: { stride?: number; pad?: number }
    results: { out: Result }
  }
  /**
   * The largest of `size` x `size` values, every `stride` pixels (2 and 2): `x` `[B, H, W, C]` f32 to `out` `[B, H',
   * W', C]` f32 with `H' = floor((H + 2 pad - size) / stride) + 1`. Padding does not count, nor does a NaN. Refused: a
   * pad of more than half of `size`, a window larger than the padded x.
   * Source: model-specification.md 7.
   */
  max_pool2d: {
    tensors: { x: Tensor }
    params: { size?: number; stride?: number; pad?: number }
    results: { out: Result }
  }
  /**
   * `x` `[B, H, W, C]` f32 plus a smaller map `y` `[B, h, w, C]` f32, enlarged to its nearest neighbours: pixel (i, j)
   * takes `y[floor(i h / H), floor(j w / W)]`. `out` has x's shape. Refused: a y that is larger than x.
   * Source: model-specification.md 7.
   */
  add_upsampled: { tensors: { x: Tensor; y: Tensor }; params: Record<never, never>; results: { out: Result } }
  /**
   * Latents of the autoencoder to normalised tokens: `map` `[H, W, >= C]` f32, of which the first C channels count, to
   * `tokens` `[H/2 * W/2, 4C]` f32. Channel `4c + 2 (row mod 2) + (column mod 2)` of a token is `(v - mean) / sqrt(var
   * + eps)`, `mean` and `var` `[4C]` f32, eps 1e-4 unless given. `inverse` brings tokens back to a map of `height` x
   * `width` cells. Refused: an odd height or width, tokens that do not fill the map.
   * Source: model-specification.md 2.
   */
  pack_latents: {
    tensors: { map?: Tensor; tokens?: Tensor; mean: Tensor; var: Tensor }
    params: { eps?: number; inverse?: boolean; height?: number; width?: number; channels?: number }
    results: { map: Result; tokens: Result }
  }
  /**
   * `pixels` `[height, width, 3 or 4]` u8 (RGB, or RGBA whose alpha is dropped) to `out` `[size, size, 3]` f32 in [-1,
   * 1]: the shorter side becomes `size` pixels by Pillow's antialiased bicubic filter, bit by bit, and the middle of
   * the other one is kept. `outDtype` `u8` gives the levels before `(v / 255 - 0.5) / 0.5`. Refused: sides that are not
   * 1 to 2^20.
   * Source: model-specification.md 2.
   */
  image_to_tensor: {
    tensors: { pixels: Tensor }
    params: { size: number; outDtype?: 'f32' | 'u8' }
    results: { out: Result }
  }
  /**
   * `x` `[height, width, 3]` f32 in [-1, 1] to `pixels` u8 of the same shape, R, G, B: clamped, `(x + 1) * 127.5` in
   * f32, truncated. A NaN gives 0. Refused: x of another type or with other than 3 channels.
   * Source: model-specification.md 2.
   */
  tensor_to_image: { tensors: { x: Tensor }; params: Record<never, never>; results: { pixels: Result } }
  /**
   * What the face detector reads: `pixels` `[H, W, 3]` u8, resized to `height` x `width` pixels (the picture's own) as
   * OpenCV does it (bilinear, 8 bits, bit by bit), as `out` `[height, width, 3]` f32: B, G, R less their means 104,
   * 117, 123. `outDtype` `u8` gives the levels before the means are subtracted. Refused: sides that are not 1 to 2^20.
   * Source: model-specification.md 7.
   */
  detector_input: {
    tensors: { pixels: Tensor }
    params: { height?: number; width?: number; outDtype?: 'f32' | 'u8' }
    results: { out: Result }
  }
  /**
   * The face the face encoder sees: `out` `[size, size, 3]` f32 (112 pixels unless given), B, G, R in [-1, 1]. `matrix`
   * is a similarity, row by row 2x3, from pixels of the picture to those of the crop, centres at whole numbers. A
   * triangle filter as wide as a pixel of the crop samples `pixels` `[height, width, 3]` u8; outside it is black.
   * Refused: other than six finite numbers within 1e9, a matrix that scales by less than 1e-6 or more than 1e6.
   * Source: model-specification.md 7.
   */
  face_crop: { tensors: { pixels: Tensor }; params: { matrix: number[]; size?: number }; results: { out: Result } }
  /**
   * One guided Euler step on `latents` `[tokens, C]` f32: `u = uEmpty + guidance (uPrompt - uEmpty)`, `latents += step
   * * u`, where `step` is the next sigma less this one. Without `uEmpty` u is `uPrompt`; guidance is 1 unless given.
   * Refused: a guidance or a step that is not finite.
   * Source: model-specification.md 6, Eq. 1.
   */
  flow_step: {
    tensors: { latents: Tensor; uPrompt: Tensor; uEmpty?: Tensor }
    params: { guidance?: number; step: number }
    results: { latents: Result }
  }
  /**
   * Standard normal noise as PyTorch makes it, `out` of `shape` (1 axis or more) f32: `torch-cuda` (the default,
   * Philox) or `torch-cpu` (Mersenne Twister; of the seed's 64 bits it takes 32). `seed` is decimal text. The same bits
   * on every device. Refused: a seed that is not 0 to 2^64 - 1, a shape without axes or with a size below 1.
   * Source: model-specification.md 6.
   */
  random_normal: {
    tensors: Record<never, never>
    params: { seed: string; generator?: 'torch-cuda' | 'torch-cpu'; shape: number[] }
    results: { out: Result }
  }
  /**
   * `x` `[C, tokens]` f32 to `out` `[tokens, C]` f32: noise and maps, channels first, to tokens. Refused: another rank
   * or type.
   * Source: model-specification.md 6.
   */
  transpose: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result } }
  /**
   * `x` (f32, bf16 or f16, of any shape) as `outDtype` (f32), rounded to nearest even; `out` has x's shape. f16 and
   * bf16 to f32 is exact. Refused: x of another type, such as `f8_e4m3`.
   */
  convert: { tensors: { x: Tensor }; params: { outDtype?: Float }; results: { out: Result } }
  /**
   * `out` `[1]` u8: 1 when every element of `x` (f32, of any shape) is finite, 0 when there is a NaN or an infinity.
   * Refused: x of another type.
   */
  all_finite: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result } }
  /**
   * Raw face embeddings `[R, N]` f32 of one person to the unit `anchor` `[N]` f32: `Norm(sum_r w_r e_r)` of the
   * directions `e_r = z_r / |z_r|`, with `norms` `[R]` `|z_r|` and `weights` `[R]` `softmax(log |z_r| / temperature)`
   * (temperature 1), in float64. A zero embedding weighs 0; where nothing is left, or the sum vanishes, the anchor is
   * zero. Refused: no embedding, a temperature that is not positive.
   * Source: model-specification.md 4, Eq. 3-4.
   */
  identity_anchor: {
    tensors: { embeddings: Tensor }
    params: { temperature?: number }
    results: { anchor: Result; norms: Result; weights: Result }
  }
  /**
   * For benchmarks: multiplies and adds in registers alone, on every thread, in `dtype` (f32); `flops` `[1]` f64 are
   * the floating-point operations that were done. A round is about a million for every thread. Refused: no round,
   * `f8_e4m3` without a GPU.
   */
  peak_flops: {
    tensors: Record<never, never>
    params: { dtype?: Float | 'f8_e4m3'; rounds: number }
    results: { flops: Result }
  }
  /**
   * For benchmarks: `out` is a copy of `x` `[n]` f32, past the caches with `streaming` (true). Refused: another rank or
   * type.
   */
  stream_copy: { tensors: { x: Tensor }; params: { streaming?: boolean }; results: { out: Result } }
}
