// Where the face encoder's 112 px face lies in an aligned crop: the least-squares similarity between two published sets
// of landmarks, solved here, and the plain resize.
import t from 'tap'
import { Networks } from '../dist/networks/index.js'

/** Eyes, nose and mouth corners of FFHQ's aligned 512 px faces, as facexlib has them. */
const FFHQ = [
  [192.98138, 239.94708],
  [318.90277, 240.1936],
  [256.63416, 314.01935],
  [201.26117, 371.41043],
  [313.08905, 371.15118],
]
/** The same of the 112 px faces that ArcFace and AdaFace are trained on. */
const ARCFACE = [
  [38.2946, 51.6963],
  [73.5318, 51.5014],
  [56.0252, 71.7366],
  [41.5493, 92.3655],
  [70.7299, 92.2041],
]

/** x -> a x - b y + tx, y -> b x + a y + ty with the least squared distances. */
function similarity(from: number[][], to: number[][]): number[] {
  const mean = (points: number[][], axis: number) =>
    points.reduce((sum, point) => sum + point[axis]!, 0) / points.length
  const [fx, fy, gx, gy] = [mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1)]
  let [along, across, squares] = [0, 0, 0]
  for (const [i, [x, y]] of from.entries()) {
    const [dx, dy, ex, ey] = [x! - fx, y! - fy, to[i]![0]! - gx, to[i]![1]! - gy]
    along += dx * ex + dy * ey
    across += dx * ey - dy * ex
    squares += dx * dx + dy * dy
  }
  const [a, b] = [along / squares, across / squares]
  return [a, -b, gx - a * fx + b * fy, b, a, gy - b * fx - a * fy]
}

async function matrixOf(size: number, mode: 'template' | 'resize'): Promise<number[]> {
  await using networks = await Networks.load({ files: [], tensors: {} })
  return [...((await networks.run('face_crop_matrix', {}, { size, mode })).matrix.data as Float64Array)]
}

/** Where a matrix puts a point. */
const place = ([a, b, tx, c, d, ty]: number[], [x, y]: number[]) => [a! * x! + b! * y! + tx!, c! * x! + d! * y! + ty!]

t.test('the template is the similarity of the landmarks', async (t) => {
  const [found, expected] = [await matrixOf(512, 'template'), similarity(FFHQ, ARCFACE)]
  for (const point of [[0, 0], [511, 0], [0, 511], [511, 511], ...FFHQ]) {
    const [p, q] = [place(found, point), place(expected, point)]
    t.ok(Math.hypot(p[0]! - q[0]!, p[1]! - q[1]!) < 1e-4, `${point}: ${p} is ${q}`)
  }
})

t.test('crops of other sizes show the same face', async (t) => {
  for (const mode of ['template', 'resize'] as const) {
    const of512 = await matrixOf(512, mode)
    for (const size of [16, 128, 1024, 1008]) {
      const matrix = await matrixOf(size, mode)
      // Pixels have their centres at whole numbers: place p of 512 is (p + 0.5) size / 512 - 0.5.
      for (const point of FFHQ) {
        const scaled = point.map((v) => ((v + 0.5) * size) / 512 - 0.5)
        const [p, q] = [place(matrix, scaled), place(of512, point)]
        t.ok(Math.hypot(p[0]! - q[0]!, p[1]! - q[1]!) < 1e-9, `${mode}, ${size} px`)
      }
    }
  }
  const corner = [-0.5, -0.5] // of the first pixel
  t.same(place(await matrixOf(64, 'resize'), corner), corner)
  t.same(place(await matrixOf(64, 'resize'), [63.5, 63.5]), [111.5, 111.5])
})
