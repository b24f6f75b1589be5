// Strips: one square column for every picture, cropped at its centre, under its label.
import t from 'tap'
import sharp from 'sharp'
import { strip, strips } from '../dist/picture/strip.js'

const COLOURS = [
  [220, 30, 30],
  [30, 200, 60],
  [40, 60, 230],
] as const

/** Three bands of colour, beside or below each other, of `long` by `short` pixels. */
function bands(long: number, short: number, beside: boolean) {
  const [width, height] = beside ? [long, short] : [short, long]
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const along = beside ? Math.floor(i / 3) % width : Math.floor(i / 3 / width)
    return COLOURS[Math.floor((3 * along) / long)]![i % 3]!
  })
  return { data, width, height }
}

async function pixels(png: Buffer) {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const at = (x: number, y: number) => [...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3)]
  return { ...info, at }
}

const near = (found: number[], wanted: readonly number[]) => found.every((v, i) => Math.abs(v - wanted[i]!) <= 3)

t.test('pictures that are not square are cropped at the centre, not squeezed', async (t) => {
  const SIDE = 60
  for (const beside of [true, false]) {
    const image = bands(300, 100, beside) // the middle band is the square at the centre
    const { width, height, at } = await pixels(await strip([{ label: '', note: '', image }], SIDE))
    t.same([width, height], [8 + SIDE + 8, 24 + SIDE + 8])
    for (const [x, y] of [
      [2, 2],
      [SIDE - 3, 2],
      [2, SIDE - 3],
      [SIDE - 3, SIDE - 3],
      [30, 30],
    ] as const)
      t.ok(near(at(8 + x, 24 + y), COLOURS[1]), `${beside ? 'wide' : 'tall'}: ${at(8 + x, 24 + y)} at ${x}, ${y}`)
  }
  // A third of the long side is lost: half of the outer bands is left.
  const { at } = await pixels(await strip([{ label: '', note: '', image: bands(150, 100, true) }], SIDE))
  const row = Array.from({ length: SIDE }, (_, x) => COLOURS.findIndex((colour) => near(at(8 + x, 54), colour)))
  t.same([row[2], row[10], row[20], row[30], row[40], row[50], row[57]], [0, 0, 1, 1, 1, 2, 2])
})

t.test('columns, rows, gaps and letters', async (t) => {
  const [a, b] = [bands(90, 90, true), bands(90, 90, false)]
  const row = [
    { label: 'input', note: '', image: a },
    { label: 'restored', note: '0.5', image: b },
  ]
  const { width, height, at } = await pixels(await strips([row, row.slice(0, 1)], 300))
  const header = 33
  t.same([width, height], [2 * 308 + 8, 2 * (header + 308)])
  for (const [x, y] of [
    [4, 200],
    [312, 200],
    [4, header + 304],
    [620, 200],
    [460, header + 308 + 200],
  ] as const)
    t.same(at(x, y), [255, 255, 255], `white at ${x}, ${y}`)
  t.ok(near(at(8 + 10, header + 10), COLOURS[0]) && near(at(8 + 290, header + 10), COLOURS[2]), 'the first column')
  t.ok(near(at(316 + 10, header + 10), COLOURS[0]) && near(at(316 + 10, header + 290), COLOURS[2]), 'the second')
  t.ok(near(at(8 + 290, 2 * header + 308 + 150), COLOURS[2]), 'the second row')
  /** How many pixels of a header are dark enough for letters: `left` and `right` halves of a column. */
  const ink = (left: number, darkest: number) => {
    let count = 0
    for (let y = 0; y < header; y++) for (let x = left; x < left + 150; x++) if (at(x, y)[0]! < darkest) count++
    return count
  }
  t.ok(ink(8, 80) > 30, 'a label at the left')
  t.equal(ink(158, 200), 0, 'no note, no ink')
  t.ok(ink(316, 80) > 30 && ink(466, 200) > 10, 'label and note')
  t.equal(ink(466, 80), 0, 'notes are fainter')
})
