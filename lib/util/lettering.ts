/**
 * Lettering for captions: one stroke per letter, drawn as SVG paths. Many servers have no fonts, so SVG text would come
 * out as a row of boxes.
 */

/**
 * Strokes of each character: y 0 at the ascenders' top, 2 at the x-height, 6 at the baseline, 8 at the descenders' end.
 */
const O = 'M3 4A1.5 2 0 1 1 0 4A1.5 2 0 1 1 3 4'
const STROKES: Readonly<Record<string, string>> = {
  a: `${O}M3 2V6`,
  b: `${O}M0 0V6`,
  c: 'M2.8 2.7A1.5 2 0 1 0 2.8 5.3',
  d: `${O}M3 0V6`,
  e: 'M0.1 4H3A1.5 2 0 1 0 2.7 5.2',
  f: 'M2.3 0.1Q1 -0.2 1 1.4V6M0 2H2.2',
  g: `${O}M3 2V6.6A1.5 1.4 0 0 1 0.2 7.2`,
  h: 'M0 0V6M0 3.6A1.5 1.6 0 0 1 3 3.6V6',
  i: 'M0.3 2V6M0.3 0.4V0.5',
  j: 'M0.9 2V6.8Q0.9 8 -0.2 7.9M0.9 0.4V0.5',
  k: 'M0 0V6M2.6 2L0 4.6M1 3.7L2.8 6',
  l: 'M0.3 0V6',
  m: 'M0 2V6M0 3.4A1.2 1.4 0 0 1 2.4 3.4V6M2.4 3.4A1.2 1.4 0 0 1 4.8 3.4V6',
  n: 'M0 2V6M0 3.6A1.5 1.6 0 0 1 3 3.6V6',
  o: O,
  p: `${O}M0 2V8`,
  q: `${O}M3 2V8`,
  r: 'M0 2V6M0 3.8Q0.2 2 1.9 2.1',
  s: 'M2.6 2.6Q2.2 2 1.4 2Q0.2 2 0.2 3Q0.2 3.8 1.4 4Q2.7 4.2 2.7 5Q2.7 6 1.4 6Q0.5 6 0.1 5.3',
  t: 'M1 0.8V4.8Q1 6 2.2 5.9M0 2H2.2',
  u: 'M0 2V4.4A1.5 1.6 0 0 0 3 4.4M3 2V6',
  v: 'M0 2L1.5 6L3 2',
  w: 'M0 2L1.1 6L2.2 2.4L3.3 6L4.4 2',
  x: 'M0 2L2.8 6M2.8 2L0 6',
  y: 'M0 2L1.5 6M3 2L1.1 7.2Q0.8 8 0 8',
  z: 'M0 2H2.8L0 6H2.8',
  0: 'M3 3A1.5 3 0 1 1 0 3A1.5 3 0 1 1 3 3',
  1: 'M0.5 1.3L1.9 0V6',
  2: 'M0.1 1.4A1.45 1.4 0 0 1 3 1.5Q3 2.6 0 6H3',
  3: 'M0.2 0.9A1.4 1.4 0 1 1 1.3 2.8A1.6 1.6 0 1 1 0 5',
  4: 'M2.3 6V0L0 4.2H3',
  5: 'M2.7 0H0.5L0.2 2.7A1.7 1.7 0 1 1 0 5.1',
  6: 'M2.6 0.4Q0 0.6 0 4.2M3 4.2A1.5 1.8 0 1 1 0 4.2A1.5 1.8 0 1 1 3 4.2',
  7: 'M0 0H3L1 6',
  8: 'M2.7 1.5A1.2 1.5 0 1 1 0.3 1.5A1.2 1.5 0 1 1 2.7 1.5M3 4.5A1.5 1.5 0 1 1 0 4.5A1.5 1.5 0 1 1 3 4.5',
  9: 'M3 1.8A1.5 1.8 0 1 1 0 1.8A1.5 1.8 0 1 1 3 1.8Q3 5.4 0.4 5.6',
  '.': 'M0.3 5.9V6',
  '-': 'M0 4H2',
  '+': 'M0 4H3M1.5 2.5V5.5',
  '/': 'M0 7L2.4 0',
}
const WIDTHS: Readonly<Record<string, number>> = {
  f: 2.2,
  i: 0.6,
  j: 1,
  k: 2.8,
  l: 0.6,
  m: 4.8,
  r: 1.9,
  s: 2.8,
  t: 2.2,
  w: 4.4,
  x: 2.8,
  z: 2.8,
  '.': 0.6,
  '-': 2,
  '/': 2.4,
  ' ': 1.2,
}
const GAP = 1.3

/** Height from the ascenders' top to the descenders' end, in the units of {@link lettering}. */
export const LETTER_HEIGHT = 8

/**
 * A line of small letters a-z, digits, blanks and . - + / as an SVG element with its top left corner at
 * the origin, and its width. Other characters become blanks.
 */
export function lettering(text: string, colour: string): { svg: string; width: number } {
  let x = 0
  const paths = [...text.toLowerCase()].map((character) => {
    const path = `<path transform="translate(${x.toFixed(2)} 0)" d="${STROKES[character] ?? ''}"/>`
    x += (WIDTHS[character] ?? 3) + GAP
    return path
  })
  const style = `fill="none" stroke="${colour}" stroke-width="0.62" stroke-linecap="round" stroke-linejoin="round"`
  return { svg: `<g ${style}>${paths.join('')}</g>`, width: Math.max(0, x - GAP) }
}
