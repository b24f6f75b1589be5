/**
 * `iconface convert`: a PyTorch checkpoint, an fp8 file or shards as one safetensors file; nothing in them is run.
 */

import { type Conversion, CONVERT_DTYPES, convertWeights } from '../prepare/convert'
import { invalid } from '../errors'
import { checkOneOf } from '../options'
import { type Command, parse } from './command'
import { print } from './output'
import { progressDisplay, table } from './terminal'
import { byteSize } from '../util/figures'

export const command: Command = {
  summary: 'turn a PyTorch file (.pt, .pth, .ckpt), an fp8 file or shards into one safetensors file',
  usage: `Usage: iconface convert <in> <out.safetensors> [options]

Reads both containers of torch.save without Python. The pickle in them is read as data: it may name what tensors need,
and anything else is an error that says which class or function it asked for; nothing is ever run. Of a checkpoint of
Lightning, state_dict is taken. What is left out is listed.

<in> may also be a safetensors file, the index of several or a folder of them: they become one file, and weights in fp8
become bf16, multiplied by the scales beside them.

  --prefix <p>     write only tensors whose names begin with <p>, without it (AdaFace: model.)
  --dtype <type>   ${CONVERT_DTYPES.join(', ')} (default keep, which makes bf16 of fp8); whole numbers keep theirs
  --json           for programs
`,
  async run(args, stop) {
    const { values, positionals } = parse(args, {
      prefix: { type: 'string', default: '' },
      dtype: { type: 'string', default: 'keep' },
      json: { type: 'boolean', default: false },
    } as const)
    const [input, output] = positionals
    if (positionals.length !== 2) throw invalid('the arguments', 'an input and an output file', positionals)
    checkOneOf('--dtype', values.dtype, CONVERT_DTYPES)
    const display = progressDisplay()
    const begun = performance.now()
    let conversion: Conversion
    try {
      conversion = await convertWeights(input!, output!, {
        prefix: values.prefix,
        dtype: values.dtype as (typeof CONVERT_DTYPES)[number],
        signal: stop,
        onProgress: ({ bytes, totalBytes }) => display.show(writing(bytes, totalBytes, performance.now() - begun)),
      })
    } finally {
      display.end()
    }
    print(values.json ? `${JSON.stringify(conversion, null, 2)}\n` : describe(conversion))
  },
}

/** How many names a line lists before it only counts. */
const SHOWN = 6

function describe({ output, container, tensors, bytes, dtypes, leftOut, skipped }: Conversion): string {
  const types = Object.entries(dtypes).map(([dtype, count]) => `${count} ${dtype}`)
  const rows: (readonly [string, string])[] = [
    ['container', container],
    ['tensors', `${tensors} (${types.join(', ')}), ${byteSize(bytes)}`],
  ]
  if (leftOut.length > 0) rows.push(['left out', list(leftOut)])
  if (skipped.length > 0) rows.push(['skipped', list(skipped.map(({ name, kind }) => `${name} (${kind})`))])
  return `${output}\n${table(rows)}`
}

function list(names: readonly string[]): string {
  const rest = names.length > SHOWN ? `, … ${names.length} in all` : ''
  return names.slice(0, SHOWN).join(', ') + rest
}

/** Progress in MiB. */
function writing(bytes: number, totalBytes: number, elapsedMs: number) {
  const etaMs = bytes === 0 ? null : (elapsedMs * (totalBytes - bytes)) / bytes
  return {
    stage: 'convert',
    step: Math.floor(bytes / 2 ** 20),
    steps: Math.ceil(totalBytes / 2 ** 20),
    elapsedMs,
    etaMs,
  }
}
