/**
 * What every degradation takes and gives: 8-bit RGB pixels.
 */

import sharp from 'sharp'

/** 8-bit sRGB pixels, row-major: `height * width * 3` bytes. */
export interface RawPixels {
  data: Uint8Array
  width: number
  height: number
}

/** A sharp pipeline that reads `image` in place. */
export function toSharp({ data, width, height }: RawPixels): sharp.Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } })
}

/** Runs a pipeline to its end. */
export async function fromSharp(pipeline: sharp.Sharp): Promise<RawPixels> {
  const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}
