/** Pictures to tensors and back. */
import { existsSync } from 'node:fs'
import { capturePictures } from '../../dist/image.js'
import { channelsFirst, channelsLast, values } from './arrange'
import type { Golden } from './golden'
import type { Run } from './run'
import { LIMITS } from './sheet'

interface PictureEntry {
  file: string
  width: number
  height: number
  geometry: Record<string, { resized_width: number; resized_height: number; crop_left: number; crop_top: number }>
}

const MAX_PIXELS = 1 << 24

/** `preprocess`: every picture at every resolution, and conversions of values back to 8 bits. */
export async function comparePreprocessing(golden: Golden, run: Run): Promise<void> {
  for (const [name, entry] of Object.entries(golden.json<Record<string, PictureEntry>>('images'))) {
    const pixels = golden.read(`input.${name}.pixels_u8`)
    await compareFile(golden, run, name, entry)
    for (const resolution of golden.json<number[]>('resolutions')) {
      const label = `${name}.r${resolution}`
      const size = { size: resolution }
      const bytes = await run.ops.run('image_to_tensor', { pixels }, { ...size, outDtype: 'u8' })
      run.compare(
        `${label} 8-bit`,
        bytes.out.data as Uint8Array,
        cropped(golden, name, resolution, entry),
        LIMITS.exact,
      )
      const floats = await run.ops.run('image_to_tensor', { pixels }, size)
      run.compare(label, values(channelsFirst(floats.out)), values(golden.read(`output.${label}`)), LIMITS.image)
    }
  }
  for (const output of golden.names('output.').filter((name) => name.endsWith('.u8'))) {
    const name = output.slice(0, -'.u8'.length)
    const { pixels } = await run.ops.run('tensor_to_image', { x: channelsLast(golden.read(`input.${name}.values`)) })
    run.compare(output, pixels.data as Uint8Array, golden.read(`output.${output}`).data as Uint8Array, LIMITS.exact)
  }
}

/** The picture file decodes to the stored pixels, without the alpha that is dropped. */
async function compareFile(golden: Golden, run: Run, name: string, { file }: PictureEntry): Promise<void> {
  const picture = golden.beside(file)
  if (!existsSync(picture)) return
  const stored = golden.read(`input.${name}.pixels_u8`)
  const channels = stored.shape[2]!
  const colours = (stored.data as Uint8Array).filter((_, i) => i % channels < 3)
  const [captured] = capturePictures([{ name: picture, image: picture }], MAX_PIXELS)
  run.compare(`${name} picture file`, (await captured!.read()).data, colours, LIMITS.exact)
}

/** The square that is cut from the stored resized picture. */
function cropped(golden: Golden, name: string, resolution: number, { geometry }: PictureEntry): Uint8Array {
  const resized = golden.read(`intermediate.${name}.r${resolution}.resized_u8`)
  const { crop_left, crop_top } = geometry[resolution]!
  const width = resized.shape[1]!
  const square = new Uint8Array(resolution * resolution * 3)
  for (let y = 0; y < resolution; y++) {
    const from = ((crop_top + y) * width + crop_left) * 3
    square.set((resized.data as Uint8Array).subarray(from, from + resolution * 3), y * resolution * 3)
  }
  return square
}
