/** Normalisation of q and k, rotation and attention on given q, k, v. */
import { f32, type Tensor } from '../../dist/ops/index.js'
import { item, items, reshape, tokensFirst, values } from './arrange'
import type { Golden } from './golden'
import { Batch, type Run } from './run'
import { LIMITS } from './sheet'
import { compareRope, type TransformerConfig } from './transformer'

interface RopeConfig extends TransformerConfig {
  qk_norm_eps: number
  /** "q multiplied by <a> and k by <b> after the norm, before rope" */
  attention_sharp?: string
}

/** `qk_rope`: every batch item by itself, since each has its own positions. */
export async function compareQkRope(golden: Golden, run: Run): Promise<void> {
  const config = golden.json<RopeConfig>('config')
  const ids = items(golden.read('input.ids'))
  const results = new Batch()
  for (const [i, each] of ids.entries()) results.add(await oneItem(golden, run, config, i, each))
  const table = (name: string) => values(golden.read(`intermediate.${name}`))
  await compareRope(run, ids, config, '', table)
  const limits = { q_norm: LIMITS.qkNorm, k_norm: LIMITS.qkNorm }
  for (const output of golden.names('output.')) {
    const expected = golden.read(`output.${output}`)
    // [batch, heads, tokens, d]; attention's results are [batch, tokens, heads * d] already.
    const ordered =
      expected.shape.length === 4 ? items(expected).map((each) => values(tokensFirst(each))) : [values(expected)]
    const all = new Batch()
    for (const part of ordered) all.add({ out: f32([part.length], part) })
    run.compare(
      output,
      results.get(output),
      all.get('out'),
      (limits as Record<string, typeof LIMITS.qkNorm>)[output] ?? LIMITS.attention,
    )
  }
}

async function oneItem(
  golden: Golden,
  run: Run,
  config: RopeConfig,
  index: number,
  ids: Tensor,
): Promise<Record<string, Tensor>> {
  const heads = (name: string) => tokensFirst(item(golden.read(`input.${name}`), index)) // [tokens, heads, d]
  const [q, k, v] = [heads('q'), heads('k'), heads('v')]
  const [qScale, kScale] = [golden.read('weight.query_norm.scale'), golden.read('weight.key_norm.scale')]
  const { cos, sin } = await run.ops.run('rope_table', { ids }, { axesDim: config.axes_dim, theta: config.theta })
  const still = { cos: constant(cos.shape, 1), sin: constant(sin.shape, 0) }
  const rotate = async (tables: { cos: Tensor; sin: Tensor }, queryScale: Tensor, keyScale: Tensor) => {
    const operands = {
      q: reshape(q, [1, ...q.shape]),
      k: reshape(k, [1, ...k.shape]),
      qScale: queryScale,
      kScale: keyScale,
      ...tables,
    }
    const out = await run.ops.run('qk_norm_rope', operands)
    return { q: item(out.q, 0), k: item(out.k, 0) }
  }
  const attend = async (rotated: { q: Tensor; k: Tensor }) =>
    (await run.ops.run('attention', { q0: rotated.q, k0: rotated.k, v0: v })).out0
  const normed = await rotate(still, qScale, kScale)
  const rotated = await rotate({ cos, sin }, qScale, kScale)
  const bare = await rotate({ cos, sin }, constant(qScale.shape, 1), kScale)
  const [a, b] = sharpness(config)
  const sharp = await rotate({ cos, sin }, scaled(qScale, a), scaled(kScale, b))
  return {
    q_norm: normed.q,
    k_norm: normed.k,
    q_norm_rope: rotated.q,
    k_norm_rope: rotated.k,
    q_raw_rope: withoutNorm(bare.q, q, config.qk_norm_eps),
    attention: await attend(rotated),
    attention_sharp: await attend(sharp),
  }
}

/** The factors of q and k that make the logits large. */
function sharpness({ attention_sharp }: RopeConfig): [number, number] {
  const match = /q multiplied by ([\d.]+) and k by ([\d.]+)/.exec(attention_sharp ?? '')
  return match ? [Number(match[1]), Number(match[2])] : [1, 1]
}

/** The operation always normalises; a rotation is linear, so each head's root mean square takes that back. */
function withoutNorm(rotated: Tensor, before: Tensor, eps: number): Tensor {
  const d = before.shape.at(-1)!
  const from = values(before)
  const out = values(rotated).map((x, i) => {
    const start = i - (i % d)
    let squares = 0
    for (let j = start; j < start + d; j++) squares += from[j]! ** 2
    return x * Math.sqrt(squares / d + eps)
  })
  return f32(rotated.shape, out)
}

function constant(shape: number[], value: number): Tensor {
  return f32(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value))
}

function scaled(tensor: Tensor, factor: number): Tensor {
  return f32(
    tensor.shape,
    values(tensor).map((x) => x * factor),
  )
}
