/**
 * Every operation's operands, parameters and results, by its name.
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
 * Every operation: what goes in, what comes out. Equations and shapes are in `native/src/op/*.h` of the package, under
 * the same names.
 */
export interface Operations {
  /**
   * `out = epilogue(x W^T)`: bias, then activation (`swiglu`: W holds 2N rows, `silu(a) * b`), then, with `out` given,
   * `out += gate * value` (`gate0..gate3` with `rows` tokens each) or `out += value` (`accumulate`). `f8_e4m3` x and
   * weight come with `xScale` and `weightScale` as {@link Operations.quantise_rows} makes them; `out` is then bf16 unless
   * `outDtype` says otherwise. On GPUs it needs compute capability 8.9. The first `qHeads` and the next `kHeads` heads of
   * columns, as wide as `cos` and `sin` `[tokens, d/2]` say, are normalised and rotated as {@link Operations.qk_norm_rope}
   * does it, with `qScale` and `kScale`.
   */
  linear: { tensors: LinearTensors; params: LinearParams; results: { out: Result } }
  /**
   * Up to four products at once, on a GPU in one launch: operands, parameters and results as those of `linear`, with `_0`
   * to `_3` behind their names. All `x` have one type.
   */
  grouped_linear: {
    tensors: Numbered<LinearTensors>
    params: Numbered<LinearParams>
    results: Record<`out_${0 | 1 | 2 | 3}`, Result>
  }
  /**
   * Rows as `f8_e4m3` and a scale `[..., 1]` each: `scale = max(max |x| / 448, 2^-126)`, `out = x / scale`, rounded to
   * nearest even. A row with an infinity or a NaN is NaN, its scale too.
   */
  quantise_rows: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result; scale: Result } }
  /**
   * `(1 + scale) LN(x) + shift`, x `[batch, tokens, D]`; vectors per segment of `rows` tokens; none: plain LN. With
   * `f8_e4m3` as `outDtype` quantised as by {@link Operations.quantise_rows}, `outScale` `[batch, tokens, 1]`.
   */
  layer_norm_modulate: {
    tensors: { x: Tensor } & Partial<Record<`${'shift' | 'scale'}${0 | 1 | 2 | 3}`, Tensor>>
    params: { rows?: number[]; outDtype?: Float | 'f8_e4m3' }
    results: { out: Result; outScale?: Result }
  }
  /** `x / sqrt(mean(x^2) + 1e-6) * weight` over the last axis. */
  rms_norm: { tensors: { x: Tensor; weight: Tensor }; params: { outDtype?: Float }; results: { out: Result } }
  /**
   * RMSNorm per head and rotary embedding, q and k `[batch, tokens, H, d]` in place. Rotated together: `adjacent`
   * elements (FLUX, the default), or those half a head apart (`halves`, Qwen3).
   */
  qk_norm_rope: {
    tensors: { q?: Tensor; k?: Tensor; qScale?: Tensor; kScale?: Tensor; cos: Tensor; sin: Tensor }
    params: { pairs?: 'adjacent' | 'halves' }
    results: { q: Result; k: Result }
  }
  /** Rows of `table` `[V, D]` by `ids` `[tokens]` i32. */
  embedding: { tensors: { ids: Tensor; table: Tensor }; params: { outDtype?: Float }; results: { out: Result } }
  /** Rotary tables `[tokens, d/2]` of position ids `[tokens, axes]`. */
  rope_table: {
    tensors: { ids: Tensor }
    params: { axesDim: number[]; theta?: number }
    results: { cos: Result; sin: Result }
  }
  /** Sinusoids of `1000 * timestep`, cosines first. */
  timestep_embedding: {
    tensors: Record<never, never>
    params: { timestep: number; dim?: number }
    results: { out: Result }
  }
  silu: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result } }
  add: { tensors: { a: Tensor; b: Tensor }; params: Record<never, never>; results: { out: Result } }
  /**
   * `softmax(q k^T * scale) v`; up to four segments `[tokens, H, d]` or `[batch, tokens, H, d]`, keys of all of them in
   * order, the items of a batch apart (of what is read, one item may serve all). k and v may have
   * fewer heads, of which each serves as many of q's. `causal` (one segment): query i sees keys 0 to i.
   */
  attention: {
    tensors: Partial<Record<`${'q' | 'k' | 'v'}${0 | 1 | 2 | 3}`, Tensor>>
    params: { scale?: number; causal?: boolean; outDtype?: Float }
    results: Record<`out${0 | 1 | 2 | 3}`, Result>
  }
  /** Key/value side of one block of the degraded cross-attention, in rank space. */
  lowrank_memory: {
    tensors: { memory: Tensor; queryUp: Tensor; keyDown: Tensor; keyUp: Tensor; valueDown: Tensor }
    params: { heads: number }
    results: { keys: Result; values: Result }
  }
  /**
   * `h += gate * attention` of image tokens h `[batch, tokens, D]` to the degraded memory, in rank space. `compute`: exact in
   * f32 (the default), or `bf16`, which lets a GPU's tensor cores multiply operands rounded to it.
   */
  lowrank_cross_attention: {
    tensors: { h: Tensor; queryDown: Tensor; keys: Tensor; values: Tensor; valueUp: Tensor }
    params: { gate?: number; compute?: Float }
    results: { h: Result }
  }
  /** `x` minus the mean over the valid cells of its 3x3 window on the token grid. */
  token_detail: { tensors: { x: Tensor }; params: { rows: number; columns: number }; results: { out: Result } }
  /** Bilinear resize of a token grid, half-pixel centres. */
  resize_tokens: {
    tensors: { x: Tensor }
    params: { rowsX: number; columnsX: number; rowsOut: number; columnsOut: number }
    results: { out: Result }
  }
  /** Convolution of `[B, H, W, C]` with `[O, kh, kw, C]`; `pad` is top, left, bottom, right. */
  conv2d: {
    tensors: { x: Tensor; weight: Tensor; bias?: Tensor; slope?: Tensor; residual?: Tensor }
    params: { stride?: number; pad?: number[]; upsample?: 1 | 2; compute?: Float; outDtype?: Float }
    results: { out: Result }
  }
  /** `[O, C, kh, kw]` to `[O, kh, kw, C]`, times `scale[o]`. */
  to_channels_last: {
    tensors: { weight: Tensor; scale?: Tensor }
    params: { outDtype?: Float }
    results: { out: Result }
  }
  group_norm_silu: {
    tensors: { x: Tensor; weight: Tensor; bias: Tensor }
    params: { groups?: number; eps?: number; silu?: boolean; outDtype?: Float }
    results: { out: Result }
  }
  /** `x * scale + shift` per channel, then PReLU where `slope` is given. */
  batch_norm_prelu: {
    tensors: { x: Tensor; scale: Tensor; shift: Tensor; slope?: Tensor }
    params: { outDtype?: Float }
    results: { out: Result }
  }
  subsample: { tensors: { x: Tensor }; params: { stride?: number }; results: { out: Result } }
  /** A kernel `[kh, kw, C]` for every channel of its own, then PReLU where `slope` is given. */
  depthwise_conv2d: {
    tensors: { x: Tensor; weight: Tensor; bias?: Tensor; slope?: Tensor }
    params: { stride?: number; pad?: number }
    results: { out: Result }
  }
  /** The largest of `size` x `size` values, every `stride` (2 and 2); padding does not count, nor does a NaN. */
  max_pool2d: {
    tensors: { x: Tensor }
    params: { size?: number; stride?: number; pad?: number }
    results: { out: Result }
  }
  /** x plus a smaller map y, enlarged to its nearest neighbours. */
  add_upsampled: { tensors: { x: Tensor; y: Tensor }; params: Record<never, never>; results: { out: Result } }
  /** Latent map `[H, W, C]` to normalised tokens `[H/2 * W/2, 4C]`, or back with `inverse` (then give height, width). */
  pack_latents: {
    tensors: { map?: Tensor; tokens?: Tensor; mean: Tensor; var: Tensor }
    params: { eps?: number; inverse?: boolean; height?: number; width?: number; channels?: number }
    results: { map: Result; tokens: Result }
  }
  /** Pixels to `[size, size, 3]` in [-1, 1]: Pillow's antialiased bicubic, centre crop. */
  image_to_tensor: {
    tensors: { pixels: Tensor }
    params: { size: number; outDtype?: 'f32' | 'u8' }
    results: { out: Result }
  }
  tensor_to_image: { tensors: { x: Tensor }; params: Record<never, never>; results: { pixels: Result } }
  /** What the face detector reads: resized as OpenCV does it (bilinear, 8 bits), B, G, R less their means. */
  detector_input: {
    tensors: { pixels: Tensor }
    params: { height?: number; width?: number; outDtype?: 'f32' | 'u8' }
    results: { out: Result }
  }
  /** The face the face encoder sees: a similarity (2x3, picture to crop), BGR in [-1, 1]. */
  face_crop: { tensors: { pixels: Tensor }; params: { matrix: number[]; size?: number }; results: { out: Result } }
  /** One guided Euler step on the latents. */
  flow_step: {
    tensors: { latents: Tensor; uPrompt: Tensor; uEmpty?: Tensor }
    params: { guidance?: number; step: number }
    results: { latents: Result }
  }
  /** Standard normal noise as PyTorch makes it; the seed in decimal. */
  random_normal: {
    tensors: Record<never, never>
    params: { seed: string; generator?: 'torch-cuda' | 'torch-cpu'; shape: number[] }
    results: { out: Result }
  }
  transpose: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result } }
  convert: { tensors: { x: Tensor }; params: { outDtype?: Float }; results: { out: Result } }
  /** 1 when every element is finite. */
  all_finite: { tensors: { x: Tensor }; params: Record<never, never>; results: { out: Result } }
  /** Raw face embeddings `[R, N]` to the norm-weighted unit anchor (Eq. 3-4). */
  identity_anchor: {
    tensors: { embeddings: Tensor }
    params: { temperature?: number }
    results: { anchor: Result; norms: Result; weights: Result }
  }
  /** For benchmarks: how many `flops` were done in registers alone; a `round` is about a million for every thread. */
  peak_flops: {
    tensors: Record<never, never>
    params: { dtype?: Float | 'f8_e4m3'; rounds: number }
    results: { flops: Result }
  }
  /** For benchmarks: `out` is a copy of `x` `[n]`, past the caches with `streaming`. */
  stream_copy: { tensors: { x: Tensor }; params: { streaming?: boolean }; results: { out: Result } }
}
