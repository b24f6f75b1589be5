/**
 * Which of a photograph's faces are restored.
 */

import { invalid } from '../errors'
import type { Alignment } from './alignment'
import type { DetectedFace } from './anchors'
import type { CheckedPhoto, FoundFace } from './photo-options'
import { selectFace } from './policy'
import { mapped } from './similarity'

interface Size {
  width: number
  height: number
}

/** A face as results tell of it. */
export function foundFace(
  { box: [left, top, right, bottom], landmarks, score }: DetectedFace,
  index: number,
): FoundFace {
  return { index, box: [left, top, right - left, bottom - top], landmarks, score }
}

/**
 * A face that was given by its alignment. Its box is made from its landmarks.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for one that lies outside the photograph.
 */
export function givenFace({ inverse, size, landmarks }: Alignment, index: number, { width, height }: Size): FoundFace {
  const corners = [0, size].flatMap((x) => [0, size].map((y) => mapped(inverse, [x, y])))
  const outside = (axis: 0 | 1, most: number) =>
    corners.every((corner) => corner[axis] < 0) || corners.every((corner) => corner[axis] > most)
  if (outside(0, width) || outside(1, height)) {
    throw invalid(`alignments[${index}]`, `a face within the photograph of ${width} x ${height} pixels`, corners[0])
  }
  const [xs, ys] = [landmarks.map(([x]) => x), landmarks.map(([, y]) => y)]
  const [left, top] = [Math.min(...xs), Math.min(...ys)]
  const [across, down] = [Math.max(...xs) - left, Math.max(...ys) - top]
  return { index, box: [left - across / 2, top - down, 2 * across, 2.5 * down], landmarks, score: null }
}

/**
 * Why each face is left as it is; `null` for those that are restored.
 *
 * @param faces The largest first.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for the number of a face that is not there.
 */
export function chooseFaces(
  faces: readonly FoundFace[],
  { faces: choice, maxFaces, minFace }: Pick<CheckedPhoto, 'faces' | 'maxFaces' | 'minFace'>,
  photo: Size,
): (string | null)[] {
  const isChosen = chooser(faces, choice, photo)
  let count = 0
  return faces.map((face) => {
    const [, , width, height] = face.box
    if (!isChosen(face)) return 'it was not chosen (faces)'
    if (face.score !== null && Math.max(width, height) < minFace) {
      return `it is ${Math.round(Math.max(width, height))} px large, less than minFace (${minFace})`
    }
    return ++count > maxFaces ? `${maxFaces} larger faces are restored (maxFaces)` : null
  })
}

function chooser(faces: readonly FoundFace[], choice: CheckedPhoto['faces'], { width, height }: Size) {
  if (choice === 'all') return () => true
  if (choice === 'largest' || choice === 'center') {
    const boxes = faces.map(({ box: [x, y, w, h], score }) => ({
      box: [x, y, x + w, y + h] as const,
      score: score ?? 1,
    }))
    const chosen = selectFace(boxes, choice, height, width)
    return ({ index }: FoundFace) => index === chosen
  }
  if (typeof choice === 'function') return (face: FoundFace) => choice(face) === true
  const missing = choice.find((index) => index >= faces.length)
  if (missing !== undefined)
    throw invalid('faces', `numbers below ${faces.length}, the number of faces found,`, missing)
  return ({ index }: FoundFace) => choice.includes(index)
}
