/**
 * The face detectors that a model shares with all its jobs: one for each file, loaded when the first picture needs it.
 */

import { join } from 'node:path'
import { PACKAGE_ROOT } from '../util/package'
import { FaceDetector, type DetectorOptions } from './detect'

/** The detector that comes with the package. */
const OWN = join(PACKAGE_ROOT, 'models', 'detector', 'detector.safetensors')

/** They compute on the CPU, whatever the model does: a look takes less time than a GPU's graph of each new size. */
export class Detectors {
  readonly #loads = new Map<string, Promise<FaceDetector>>()

  constructor(private readonly options: Pick<DetectorOptions, 'threads' | 'isa'>) {}

  /**
   * @param file A file of RetinaFace's weights. Default: the package's own.
   * @throws {IConFaceError} as `FaceDetector.load`; a load that failed is not remembered.
   */
  get(file: string = OWN): Promise<FaceDetector> {
    const known = this.#loads.get(file)
    if (known) return known
    const loading = FaceDetector.load(file, { ...this.options, device: 'cpu' })
    this.#loads.set(file, loading)
    loading.catch(() => this.#loads.delete(file))
    return loading
  }

  /** Frees all of them; those too that are still being loaded. */
  async dispose(): Promise<void> {
    const loads = [...this.#loads.values()]
    this.#loads.clear()
    await Promise.all(loads.map((loading) => loading.then((detector) => detector.dispose()).catch(() => undefined)))
  }
}
