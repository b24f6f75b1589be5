// Weights in forms that are not read: named as what they are, with what to do, wherever they are met.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { convertWeights } from '../../dist/prepare/convert.js'
import { describePath } from '../../dist/prepare/describe.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { prepareModel } from '../../dist/prepare/prepare.js'
import { scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, type Tensor, writeTensors } from '../fixtures/weights'

let tiny: string
t.before(async () => void (tiny = await tinyModel()))

/** A file's name, how it begins, and what it is called. */
const FILES: readonly (readonly [name: string, start: string, message: RegExp])[] = [
  ['klein-Q4_K_M.gguf', 'GGUF\x03\0\0\0', /is a GGUF file .*llama\.cpp.*: take the safetensors file \(bf16 or fp8\)/],
  ['renamed.safetensors', 'GGUF\x03\0\0\0\x20\0\0\0\0\0\0\0', /is a GGUF file/],
  ['old.bin', 'lmgg\x03\0\0\0', /is a GGML file/],
  ['model.onnx', '\x08\x08\x12\x07pytorch', /is an ONNX graph.*take the safetensors/],
  ['model.onnx_data', '\0\0\0\0', /is an ONNX graph/],
  ['unet.engine', 'ftrt\0\0\0\0', /is a TensorRT engine.*take the safetensors/],
  ['unet.plan', '\0\0\0\0', /is a TensorRT engine/],
  ['unet.mlmodel', '\x08\x07', /is a Core ML model/],
  ['openvino_model.bin', '\0\0\0\0', /is an OpenVINO model/],
  ['flax_model.msgpack', '\x81\xa6params', /is Flax weights/],
  ['model.h5', '\x89HDF\r\n\x1a\n', /is a Keras or HDF5 file/],
  ['model.tflite', '\x1c\0\0\0TFL3', /is a TensorFlow Lite model/],
  ['saved_model.pb', '\x08\x01', /is a TensorFlow graph/],
  ['weights.npz', 'PK\x03\x04\x14\0\0\0', /is a file of NumPy arrays/],
  ['model.pte', '\x1c\0\0\0ET12', /is an ExecuTorch program/],
  ['pipeline.dduf', 'PK\x03\x04\x14\0\0\0', /is a DDUF archive .*unpack it/],
  ['models.zip', 'PK\x03\x04\x14\0\0\0', /is an archive.*unpack it/],
  ['model.tar.gz', '\x1f\x8b\x08\0\0\0\0\0', /is an archive.*unpack it/],
]

t.test('files of other forms, by name and by beginning', async (t) => {
  const code = 'ERR_ICONFACE_UNSUPPORTED'
  for (const [name, start, message] of FILES) {
    const file = join(scratch, name)
    writeFileSync(file, Buffer.concat([Buffer.from(start, 'latin1'), Buffer.alloc(100)]))
    t.throws(() => describePath(file), { code, message }, `inspect ${name}`)
    await t.rejects(prepareModel([tiny, file], join(scratch, 'never')), { code, message }, `prepare ${name}`)
  }
  const model = join(scratch, 'named')
  mkdirSync(model)
  for (const name of ['klein-Q4_K_M.gguf', 'renamed.safetensors']) {
    const json = JSON.parse(
      readFileSync(join(tiny, 'iconface.json'), 'utf8').replaceAll(/"file": "/g, `"file": "${tiny}/`),
    ) as Record<string, object>
    writeFileSync(
      join(model, 'iconface.json'),
      JSON.stringify({ ...json, transformer: { ...json.transformer, file: join(scratch, name) } }),
    )
    t.throws(() => openCheckpoint(model), { code, message: /is a GGUF file/ }, `load ${name}`)
  }
})

t.test('safetensors are what they are, whatever they are called and however they begin', async (t) => {
  const tensors = readTensors(join(tiny, 'transformer.safetensors'))
  for (const name of ['model.plan', 'model.gguf', 'model.SFT']) {
    const file = join(scratch, name)
    await writeTensors(file, tensors)
    t.match(describePath(file), { parts: [{ role: 'transformer' }], problems: [] }, name)
  }
  // A header of 0x088b1f bytes begins as gzip does.
  const file = join(scratch, 'gzip-like.safetensors')
  const size = 0x08_8b1f
  const header = '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'.padEnd(size, ' ')
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(size))
  writeFileSync(file, Buffer.concat([length, Buffer.from(header)]))
  t.match(describePath(file).parts, [{ role: 'unknown' }])
})

/** A module's weight and what goes with it, and what that is called. */
const QUANTISED: readonly (readonly [
  kind: RegExp,
  tensors: readonly (readonly [name: string, dtype: Tensor['dtype'], shape: number[]])[],
])[] = [
  [
    /NVFP4 \(4 bits/,
    [
      ['weight', 'U8', [128, 64]],
      ['weight_scale', 'F8_E4M3', [128, 8]],
      ['weight_scale_2', 'F32', []],
      ['comfy_quant', 'U8', [20]],
    ],
  ],
  [
    /NVFP4/,
    [
      ['weight_packed', 'U8', [128, 64]],
      ['weight_scale', 'F8_E4M3', [128, 8]],
      ['weight_global_scale', 'F32', [1]],
    ],
  ],
  [/NVFP4/, [['weight', 'F4', [128, 128]]]],
  [
    /MXFP8/,
    [
      ['weight', 'F8_E4M3', [128, 128]],
      ['weight_scale', 'F8_E8M0', [128, 4]],
    ],
  ],
  [
    /MXFP8/,
    [
      ['weight', 'F8_E4M3', [128, 128]],
      ['weight_scale', 'U8', [128, 4]],
    ],
  ],
  [
    /fp8 with scales by blocks/,
    [
      ['weight', 'F8_E4M3', [128, 128]],
      ['weight_scale_inv', 'F32', [2, 2]],
    ],
  ],
  [
    /bitsandbytes NF4/,
    [
      ['weight', 'U8', [8192, 1]],
      ['weight.absmax', 'F32', [256]],
      ['weight.quant_map', 'F32', [16]],
      ['weight.quant_state.bitsandbytes__nf4', 'U8', [80]],
    ],
  ],
  [
    /bitsandbytes int8/,
    [
      ['weight', 'I8', [128, 128]],
      ['SCB', 'F32', [128]],
    ],
  ],
  [
    /SVDQuant \(Nunchaku/,
    [
      ['qweight', 'I8', [128, 64]],
      ['wscales', 'BF16', [2, 128]],
    ],
  ],
  [
    /GPTQ or AWQ/,
    [
      ['qweight', 'I32', [16, 128]],
      ['qzeros', 'I32', [1, 16]],
      ['scales', 'F16', [1, 128]],
    ],
  ],
  [
    /optimum-quanto/,
    [
      ['weight._data', 'I8', [128, 128]],
      ['weight._scale', 'BF16', [128, 1]],
    ],
  ],
  [
    /MLX/,
    [
      ['weight', 'U32', [128, 16]],
      ['scales', 'BF16', [128, 2]],
      ['biases', 'BF16', [128, 2]],
    ],
  ],
  [
    /int8 or less/,
    [
      ['weight', 'I8', [128, 128]],
      ['weight_scale', 'F32', [128, 1]],
    ],
  ],
]

t.test('quantised weights are one problem, named, and not hundreds', async (t) => {
  const module = 'double_blocks.0.img_attn.proj'
  const whole = readTensors(join(tiny, 'transformer.safetensors'))
  const bits: Partial<Record<Tensor['dtype'], number>> = {
    F4: 4,
    U8: 8,
    I8: 8,
    F8_E4M3: 8,
    F8_E8M0: 8,
    BF16: 16,
    F16: 16,
  }
  for (const prefix of ['', 'model.diffusion_model.']) {
    for (const [i, [kind, parts]] of QUANTISED.entries()) {
      const quantised = parts.map(([name, dtype, shape]): Tensor => {
        const elements = shape.reduce((a, b) => a * b, 1)
        return { name: `${module}.${name}`, dtype, shape, data: new Uint8Array((elements * (bits[dtype] ?? 32)) / 8) }
      })
      const others = whole.filter(({ name }) => name !== `${module}.weight`)
      const file = join(scratch, `quantised-${i}.safetensors`)
      await writeTensors(
        file,
        [...others, ...quantised].map((x) => ({ ...x, name: prefix + x.name })),
      )
      const { parts: found, problems } = describePath(file)
      t.match(found, [{ role: 'transformer' }])
      t.equal(problems.length, 1, `${prefix}${kind}`)
      t.match(problems[0]!.message, kind)
      t.match(problems[0]!.message, /take the bf16 or fp8 file of the same model/)
      const rest = ['autoencoder', 'prompt_embeddings'].map((name) => join(tiny, `${name}.safetensors`))
      await t.rejects(prepareModel([file, ...rest], join(scratch, 'never')), {
        code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
        message: kind,
      })
    }
  }
})

t.test('fp8 values whose scales are not read are not converted without them', async (t) => {
  const module = 'double_blocks.0.img_attn.proj'
  const weight: Tensor = {
    name: `${module}.weight`,
    dtype: 'F8_E4M3',
    shape: [128, 128],
    data: new Uint8Array(128 * 128),
  }
  const scales: Tensor[] = [
    { name: `${module}.weight_scale`, dtype: 'F8_E8M0', shape: [128, 4], data: new Uint8Array(512) },
    { name: `${module}.weight_scale_inv`, dtype: 'F32', shape: [2, 2], data: new Uint8Array(16) },
  ]
  for (const scale of scales) {
    const file = join(scratch, 'scaled.safetensors')
    await writeTensors(file, [weight, scale])
    await t.rejects(convertWeights(file, join(scratch, 'never.safetensors')), {
      code: 'ERR_ICONFACE_UNSUPPORTED',
      message: /scales by blocks/,
    })
  }
})
