/**
 * Warnings about a picture that is not square or far from the model's size: its short side is fitted, its centre is kept.
 */

import { IConFaceWarning } from '../warning'

/** The share of a picture that is cropped without a warning: face alignment is no more exact than that. */
const UNNOTICED_LOSS = 0.01
/** A picture this many times larger is hardly a crop of a face; one this many times smaller has hardly any detail of it. */
const FAR = 4

/** Whether hardly anything of a picture is cut away where it is made square. */
export function isSquare({ width, height }: { width: number; height: number }): boolean {
  return 1 - Math.min(width, height) / Math.max(width, height) <= UNNOTICED_LOSS
}

/**
 * What a caller should know about a picture of `width` x `height` pixels that is fitted to `size` x `size`.
 *
 * @param name What messages call the picture: `input`, `reference 2`.
 */
export function shapeWarnings(
  name: string,
  { width, height }: { width: number; height: number },
  size: number,
): IConFaceWarning[] {
  const [short, long] = [Math.min(width, height), Math.max(width, height)]
  const pixels = `${name} of ${width} x ${height} pixels`
  const warnings: IConFaceWarning[] = []
  if (!isSquare({ width, height })) {
    const [lost, where] = [1 - short / long, width > height ? 'the left and right' : 'the top and bottom']
    warnings.push(
      new IConFaceWarning(
        'WARN_ICONFACE_CROPPED',
        `${pixels} is not square: ${(100 * lost).toFixed(0)} % of it, at ${where}, is cut away; ` +
          'give an aligned, square crop of the face',
      ),
    )
  }
  if (short > FAR * size) {
    warnings.push(
      new IConFaceWarning(
        'WARN_ICONFACE_REDUCED',
        `${pixels} is reduced ${factor(short / size)} times, to ${size}: if it shows more than a face, little of the ` +
          'face is left; give an aligned crop of it',
      ),
    )
  }
  if (FAR * short < size) {
    warnings.push(
      new IConFaceWarning(
        'WARN_ICONFACE_ENLARGED',
        `${pixels} is enlarged ${factor(size / short)} times, to ${size}: so few pixels hold little of a face; ` +
          'give a larger picture',
      ),
    )
  }
  return warnings
}

function factor(ratio: number): string {
  return String(Math.round(10 * ratio) / 10)
}
