/**
 * Who is who in a photograph: each person to one face, by the similarity of their embeddings.
 */

/** The unit vector of the same direction; `null` for a zero vector. */
export function unit(vector: Float32Array): Float32Array | null {
  const length = Math.hypot(...vector)
  return length > 0 ? vector.map((value) => value / length) : null
}

/** The direction of the sum of raw embeddings, in which a face counts by how recognisable it is; `null` where it has none. */
export function meanFace(embeddings: readonly Float32Array[]): Float32Array | null {
  const [first] = embeddings
  return first ? unit(first.map((_, k) => embeddings.reduce((sum, face) => sum + face[k]!, 0))) : null
}

/** Cosine of two embeddings; 0 where one of them is zero. */
export function similarityOf(a: Float32Array | null, b: Float32Array | null): number {
  const [x, y] = [a && unit(a), b && unit(b)]
  return x && y ? x.reduce((sum, value, k) => sum + value * y[k]!, 0) : 0
}

/**
 * The person of each face; `null` where it is nobody's. Nobody gets two faces, and no pair is less similar than `least`.
 *
 * Of all ways to do that, the one whose similarities above `least` sum up to most: relatives resemble each other, and the pair
 * that is most similar of all may leave a second person with nobody, where another choice finds both. The Hungarian method,
 * by shortest augmenting paths with potentials (Kuhn 1955; Jonker and Volgenant 1987), finds it in time that grows as
 * faces^2 x (people + faces): nothing, for the few faces of a photograph.
 *
 * @param similarities One row for each face, one column for each person.
 */
export function matchPeople(similarities: readonly (readonly number[])[], least: number): (number | null)[] {
  const faces = similarities.length
  const people = similarities[0]?.length ?? 0
  // Besides the people there is a nobody for each face, which costs nothing.
  const cost = (face: number, column: number) =>
    column < people ? Math.min(0, least - similarities[face]![column]!) : 0
  const columnOf = assign(faces, people + faces, cost)
  return columnOf.map((column, face) => (column < people && similarities[face]![column]! >= least ? column : null))
}

/** The column of each row, all different, whose costs sum up to least; there are no fewer columns than rows. */
function assign(rows: number, columns: number, cost: (row: number, column: number) => number): number[] {
  const NONE = -1
  const rowOf = new Array<number>(columns + 1).fill(NONE) // the last column is where a new row begins
  const ofRow = new Float64Array(rows)
  const ofColumn = new Float64Array(columns + 1)
  for (let row = 0; row < rows; row++) {
    const before = new Array<number>(columns).fill(columns)
    const distance = new Float64Array(columns).fill(Infinity)
    const done = new Array<boolean>(columns + 1).fill(false)
    let column = columns
    rowOf[columns] = row
    while (rowOf[column] !== NONE) {
      done[column] = true
      const from = rowOf[column]!
      let next = NONE
      for (let to = 0; to < columns; to++) {
        if (done[to]) continue
        const reduced = cost(from, to) - ofRow[from]! - ofColumn[to]!
        if (reduced < distance[to]!) {
          distance[to] = reduced
          before[to] = column
        }
        if (next === NONE || distance[to]! < distance[next]!) next = to
      }
      const step = distance[next]!
      for (let to = 0; to <= columns; to++) {
        if (done[to]) {
          ofRow[rowOf[to]!]! += step
          ofColumn[to]! -= step
        } else if (to < columns) distance[to]! -= step
      }
      column = next
    }
    for (; column !== columns; column = before[column]!) rowOf[column] = rowOf[before[column]!]!
  }
  const columnOf = new Array<number>(rows).fill(NONE)
  for (let column = 0; column < columns; column++) if (rowOf[column] !== NONE) columnOf[rowOf[column]!] = column
  return columnOf
}
