/**
 * The operations by themselves, without any checkpoint: what the networks are built from, for people who write or time
 * kernels.
 *
 * @example
 * import { OpContext, f32 } from '@iconface/native/ops'
 *
 * await using ops = new OpContext({ threads: 2 })
 * const { out } = await ops.run('linear', { x: f32([1, 3], [1, 2, 3]), weight: f32([2, 3], [1, 0, 0, 0, 1, 0]) })
 * toFloat32(out) // [1, 2]
 *
 * @packageDocumentation
 */

export { bf16, f32, i32, toFloat32, type DType, type Result, type Tensor } from './tensor'
export { type Operations } from './operations'
export { OpContext, type Explicit, type OpContextOptions, type RunParams } from './context'
