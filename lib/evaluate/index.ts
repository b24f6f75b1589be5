export { landmarkError, type LandmarkError, type Point } from './landmarks'
export type { RgbImage } from './pixels'
export { psnr } from './psnr'
export { ssim } from './ssim'
