#!/usr/bin/env node
/**
 * Cuts the faces of labelled photographs to the template, for make_data.mjs --photos.
 *
 *     node training/align_faces.mjs --faces DIR --out FOLDER --size 256 --role train
 *
 * DIR/labels.json has `files`: { file, set, person, role, aligned, alignedInside, transform }, where `transform` is the
 * 2 x 3 similarity from pixel centres of the file to those of a 512 px template, and `aligned` the side of the cut in
 * pixels of the file. Written: FOLDER/<person>/<file>.png, SIZE x SIZE; what lies outside a photograph is its
 * reflection.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'

const TEMPLATE = 512

const { values: options } = parseArgs({
  options: {
    faces: { type: 'string' },
    out: { type: 'string' },
    size: { type: 'string', default: '256' },
    role: { type: 'string', default: 'train' },
    least: { type: 'string' }, // smallest `aligned`; the size unless given
    inside: { type: 'string', default: '0.9' }, // smallest share of the cut that the photograph covers
    'without-set': { type: 'string', multiple: true, default: [] },
  },
})
if (options.faces === undefined || options.out === undefined)
  throw new Error('--faces names the folder of the photographs, --out the folder to write to')
const size = Number(options.size)
const least = Number(options.least ?? size)
const inside = Number(options.inside)

/** Index of a pixel inside `length`, those beyond the ends reflected about the edge. */
function reflect(i, length) {
  const period = 2 * length
  const at = ((i % period) + period) % period
  return at < length ? at : period - 1 - at
}

/**
 * The cut of one photograph, bilinear. A photograph with more pixels than the cut is reduced first (Lanczos), so that
 * no detail folds over.
 *
 * @param transform Row-major [a, -b, tx, b, a, ty], from pixel centres of the photograph to those of the template.
 */
async function align(file, transform, side) {
  const [a, , tx, b, , ty] = transform.flat()
  const scale = (Math.hypot(a, b) * side) / TEMPLATE // pixels of the cut for a pixel of the photograph
  const { width, height } = await sharp(file).metadata()
  const reduced = Math.min(1, scale)
  const [w, h] = [Math.max(1, Math.round(width * reduced)), Math.max(1, Math.round(height * reduced))]
  const pixels = await sharp(file).toColourspace('srgb').removeAlpha().resize(w, h, { fit: 'fill' }).raw().toBuffer()
  const cut = new Uint8Array(side * side * 3)
  const determinant = a * a + b * b
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const u = ((x + 0.5) * TEMPLATE) / side - 0.5 - tx
      const v = ((y + 0.5) * TEMPLATE) / side - 0.5 - ty
      const px = (((a * u + b * v) / determinant + 0.5) * w) / width - 0.5
      const py = (((a * v - b * u) / determinant + 0.5) * h) / height - 0.5
      const [x0, y0] = [Math.floor(px), Math.floor(py)]
      const [fx, fy] = [px - x0, py - y0]
      const columns = [reflect(x0, w), reflect(x0 + 1, w)]
      const rows = [reflect(y0, h), reflect(y0 + 1, h)]
      for (let c = 0; c < 3; c++) {
        const at = (row, column) => pixels[(rows[row] * w + columns[column]) * 3 + c]
        const above = at(0, 0) * (1 - fx) + at(0, 1) * fx
        const below = at(1, 0) * (1 - fx) + at(1, 1) * fx
        cut[(y * side + x) * 3 + c] = Math.round(above * (1 - fy) + below * fy)
      }
    }
  return sharp(cut, { raw: { width: side, height: side, channels: 3 } })
}

const { files } = JSON.parse(readFileSync(path.join(options.faces, 'labels.json'), 'utf8'))
const chosen = files.filter(
  (one) =>
    one.role === options.role &&
    one.aligned >= least &&
    one.alignedInside >= inside &&
    !options['without-set'].includes(one.set),
)
if (chosen.length === 0) throw new Error(`no file of ${options.faces} is of role ${options.role} and large enough`)
for (const { file, person, transform } of chosen) {
  const folder = path.join(options.out, String(person).padStart(4, '0'))
  mkdirSync(folder, { recursive: true })
  const image = await align(path.join(options.faces, file), transform, size)
  await image.png().toFile(path.join(folder, `${path.parse(file).name}.png`))
}
console.log(`${chosen.length} faces of ${new Set(chosen.map(({ person }) => person)).size} people in ${options.out}`)
