/**
 * Benchmarks of operations on grids of tokens, at 512 px; all are limited by memory.
 */

import { type Family, operation, random, reader, some } from './case'

/** Latents of the autoencoder, normalised: the first half of the encoder's moments. */
export const packLatents: Family = {
  name: 'pack_latents',
  axes: ['height', 'width', 'channels'],
  shapes: [[64, 64, 32]],
  quick: [4, 6, 3],
  precisions: ['f32'],
  make([height = 0, width = 0, channels = 0]) {
    const map = random('f32', [height, width, 2 * channels])
    const [mean, variance] = [random('f32', [4 * channels]), random('f32', [4 * channels], 0.1, 1)]
    const [value, centre, spread] = [reader(map), reader(mean), reader(variance)]
    const n = height * width * channels
    return operation(
      'pack_latents',
      { bytes: 8 * n },
      { map, mean, var: variance },
      {},
      {
        result: 'tokens',
        *at() {
          for (const i of some(n, 256)) {
            const [token, k] = [Math.floor(i / (4 * channels)), i % (4 * channels)]
            const row = 2 * Math.floor(token / (width / 2)) + (Math.floor(k / 2) % 2)
            const column = 2 * (token % (width / 2)) + (k % 2)
            const latent = value((row * width + column) * 2 * channels + Math.floor(k / 4))
            yield [i, (latent - centre(k)) / Math.sqrt(spread(k) + Math.fround(1e-4))]
          }
        },
      },
    )
  },
}

/** What the detail route pools: the degraded picture's tokens less their neighbourhood. */
export const tokenDetail: Family = {
  name: 'token_detail',
  axes: ['rows', 'columns', 'width'],
  shapes: [[32, 32, 3072]],
  quick: [3, 5, 16],
  precisions: ['f32'],
  make([rows = 0, columns = 0, width = 0]) {
    const x = random('f32', [rows * columns, width])
    const value = reader(x)
    const n = rows * columns * width
    return operation(
      'token_detail',
      { bytes: 8 * n },
      { x },
      { rows, columns },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) {
            const [row, column] = [Math.floor(i / width / columns), Math.floor(i / width) % columns]
            let [sum, count] = [0, 0]
            for (let r = Math.max(0, row - 1); r <= Math.min(rows - 1, row + 1); r++)
              for (let c = Math.max(0, column - 1); c <= Math.min(columns - 1, column + 1); c++, count++)
                sum += value((r * columns + c) * width + (i % width))
            yield [i, value(i) - sum / count]
          }
        },
      },
    )
  },
}

/** The degraded picture's tokens onto a scene of another size. */
export const resizeTokens: Family = {
  name: 'resize_tokens',
  axes: ['rows', 'columns', 'rows out', 'columns out', 'width'],
  shapes: [[16, 16, 32, 32, 3072]],
  quick: [3, 5, 4, 7, 16],
  precisions: ['f32'],
  make([rowsX = 0, columnsX = 0, rowsOut = 0, columnsOut = 0, width = 0]) {
    const x = random('f32', [rowsX * columnsX, width])
    const value = reader(x)
    const n = rowsOut * columnsOut * width
    const between = (i: number, from: number, to: number) => {
      const place = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1)
      const first = Math.floor(place)
      return { first, second: Math.min(first + 1, from - 1), weight: place - first }
    }
    return operation(
      'resize_tokens',
      { bytes: 4 * (rowsX * columnsX * width + n) },
      { x },
      { rowsX, columnsX, rowsOut, columnsOut },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) {
            const row = between(Math.floor(i / width / columnsOut), rowsX, rowsOut)
            const column = between(Math.floor(i / width) % columnsOut, columnsX, columnsOut)
            const line = (r: number) =>
              value((r * columnsX + column.first) * width + (i % width)) * (1 - column.weight) +
              value((r * columnsX + column.second) * width + (i % width)) * column.weight
            yield [i, line(row.first) * (1 - row.weight) + line(row.second) * row.weight]
          }
        },
      },
    )
  },
}
