/**
 * Warnings for references that seem to show another person than the other pictures of a restore.
 */

import { IConFaceWarning } from './warning'

const EMBEDDING = 512
/**
 * Least cosine of a reference to the mean of the other pictures of the same person: where there are other references,
 * and where there is only the degraded picture, which resembles everybody less.
 *
 * Measured with the package's own model on 60 drawn people at 128 px, mildly to severely degraded, with 1 to 3
 * references: 15 of 540 restores warn although all pictures show one person (11 of them have one reference), and 1430
 * of 1620 warn where the last reference is a stranger's. Of photographs, which this model's encoder was not trained on,
 * 60 pairs of one person stay above 0.26 in 57 cases; strangers there are mostly as similar, so they go unnoticed.
 */
const LEAST_AMONG_REFERENCES = 0.2
const LEAST_TO_INPUT = 0.15

/**
 * A warning for each reference that resembles the other pictures too little, the least similar first.
 *
 * A reference that was warned of is left out of further comparisons: it would make the others look like strangers.
 *
 * @param embeddings Raw, [pictures, 512]: the degraded picture first. Zero vectors are skipped.
 */
export function strangerWarnings(embeddings: Float32Array): IConFaceWarning[] {
  const faces = Array.from({ length: embeddings.length / EMBEDDING }, (_, i) =>
    unit(embeddings.subarray(i * EMBEDDING, (i + 1) * EMBEDDING)),
  )
  const left = [...faces.keys()].filter((i) => faces[i] !== null)
  const warnings: IConFaceWarning[] = []
  for (;;) {
    const references = left.filter((i) => i > 0)
    const least = references.length > 1 ? LEAST_AMONG_REFERENCES : LEAST_TO_INPUT
    const similarities = references.map((i) =>
      similarity(
        faces[i]!,
        left.filter((j) => j !== i).map((j) => faces[j]!),
      ),
    )
    const lowest = similarities.indexOf(Math.min(...similarities))
    if (lowest < 0 || !(similarities[lowest]! < least)) return warnings
    const found = references[lowest]!
    left.splice(left.indexOf(found), 1)
    const message =
      `reference ${found} may show somebody else: its similarity to the other pictures is ` +
      `${similarities[lowest]!.toFixed(2)}, less than ${least}; leave it out, or crop it to the face`
    warnings.push(new IConFaceWarning('WARN_ICONFACE_OTHER_PERSON', message))
  }
}

/** Cosine of a unit vector to the mean of others; 1 where there are none. */
function similarity(face: Float32Array, others: readonly Float32Array[]): number {
  const sum = face.map((_, k) => others.reduce((total, other) => total + other[k]!, 0))
  const mean = unit(sum)
  return mean ? face.reduce((total, value, k) => total + value * mean[k]!, 0) : 1
}

/** The unit vector of the same direction; `null` for a zero vector. */
function unit(vector: Float32Array): Float32Array | null {
  const length = Math.hypot(...vector)
  return length > 0 ? vector.map((value) => value / length) : null
}
