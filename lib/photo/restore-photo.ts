/**
 * Restores the faces of a whole photograph: finds them, finds out whose they are, restores each, and pastes it back.
 */

import { type Engine, restorationOf } from '../engine'
import { invalid } from '../errors'
import type { RgbImage } from '../image'
import { LIMITS } from '../limits'
import { restoreSettings } from '../options'
import { sizeWarnings } from '../picture/size'
import type { Restoration } from '../restoration'
import { type Alignment, alignFace } from './alignment'
import type { AlignOptions } from './align-picture'
import { faceCrop } from './face-crop'
import { type PasteMask, pasteBack } from './paste-back'
import { matchFaces, type Match } from './match-faces'
import type { FoundFace, PhotoProgress, PhotoRequest } from './photo-options'
import { type PhotoFace, PhotoRestoration } from './photo-restoration'
import { cropFromRgb, cropToRgb, type Photograph, readPhotograph } from './photograph'
import { type Person, readPerson } from './reference-faces'
import { cropsTouch, giveBack, partOf, placeOf, savePart } from './territory'
import { noFace, searchFaces } from './search'
import { chooseFaces, foundFace, givenFace } from './select-faces'
import { enlarged, scaledAlignment } from './upscale'

/** Scores of the faces of a photograph; lower ones where none has it. */
const CONFIDENCE = 0.5

const WAY_OUT =
  'give a photograph that shows a face, upright; for a crop of one face use restore, or say where it is (alignments)'

type Reporting = Pick<PhotoProgress, 'stage' | 'step' | 'steps'> & Partial<PhotoProgress>
export type PhotoReport = (report: Reporting) => void

/** A face that is to be restored. */
interface Cut {
  face: FoundFace
  alignment: Alignment
  crop: RgbImage
}

/** The work of a photograph's restore whose turn has come. Nothing is left of it when it is stopped. */
export async function restorePhotograph(
  engine: Engine,
  request: PhotoRequest,
  stop: AbortSignal,
  onProgress: (progress: PhotoProgress) => void,
): Promise<PhotoRestoration> {
  const { options } = request
  const clock = new Clock()
  const report: PhotoReport = (said) =>
    onProgress({ position: 0, done: 0, etaMs: null, face: 0, faces: 0, elapsedMs: clock.elapsed(), ...said })
  const { size } = restoreSettings(engine.info.defaults, options.restore)
  const { threads } = engine.info
  const aligning: AlignOptions = {
    align: 'auto',
    size,
    threads,
    signal: stop,
    detector: () => engine.detectors.get(request.detector),
  }
  const reads = 1 + request.people.reduce((sum, { pictures }) => sum + pictures.length, 0)

  const photo = await readPhotograph(request.photo, options.keepLocation)
  stop.throwIfAborted()
  checkResult(photo, options.upscale)
  const warnings = [...engine.info.warnings, ...sizeWarnings(size, engine.info.defaults.size), ...photo.warnings]
  let read = 1
  report({ stage: 'read', step: read, steps: reads })
  clock.lap('read')

  const found = await facesOf(photo, request, aligning)
  report({ stage: 'detect', step: 1, steps: 1 })
  clock.lap('detect')
  const people: Person[] = []
  for (const person of request.people) {
    const onRead = () => report({ stage: 'read', step: ++read, steps: reads })
    people.push(await readPerson(person, engine, aligning, warnings, onRead))
  }
  clock.lap('references')

  const choice = chooseFaces(found, options, photo)
  const cuts: Cut[] = []
  for (const [i, face] of found.entries()) {
    if (choice[i] !== null) continue
    const given = options.alignments?.[i]
    const alignment = given ?? alignFace(face.landmarks, { ...options.crop, size })
    cuts.push({
      face,
      alignment,
      crop: await cropToRgb(photo, await faceCrop(photo, alignment, { threads, signal: stop })),
    })
  }
  clock.lap('crop')
  const matches = await matchFaces(cuts, people, engine, { ...request, size, signal: stop }, warnings, report)
  clock.lap('match')

  const restored = await restoreFaces(engine, request, cuts, matches, people, stop, report)
  clock.lap('restore')
  const result = options.upscale === 1 ? photo : await enlarged(photo, options.upscale)
  stop.throwIfAborted()
  const masks = await pasteFaces(result, photo, found, cuts, restored, options, threads, stop, report)
  clock.lap('paste')
  const faces = found.map((face, i): PhotoFace => {
    const k = cuts.findIndex((cut) => cut.face === face)
    if (k < 0) return { ...face, ...NOT_CUT, reason: choice[i]! }
    const { alignment, crop } = cuts[k]!
    const { person, similarity, reason } = matches[k]!
    const status = restored[k] ? 'restored' : 'kept'
    return { ...face, person, similarity, status, reason, alignment, crop, restored: restored[k]!, mask: masks[k]! }
  })
  return new PhotoRestoration(result, photo.metadata, { faces, warnings, timings: clock.end() })
}

/** What is known of a face that was not cut out. */
const NOT_CUT = {
  person: null,
  similarity: null,
  status: 'kept',
  alignment: null,
  crop: null,
  restored: null,
  mask: null,
} as const

/** Milliseconds by stage. */
class Clock {
  readonly #began = performance.now()
  #last = this.#began
  readonly #timings: Record<string, number> = {}

  elapsed(): number {
    return performance.now() - this.#began
  }

  /** Ends a stage. */
  lap(stage: string): void {
    const now = performance.now()
    this.#timings[stage] = now - this.#last
    this.#last = now
  }

  end(): Record<string, number> {
    return { ...this.#timings, total: this.elapsed() }
  }
}

/** Refuses a result that no file format takes. */
function checkResult({ width, height }: Photograph, upscale: number): void {
  const [wide, high] = [width * upscale, height * upscale]
  if (upscale === 1 || (wide * high <= LIMITS.pixels.max && Math.max(wide, high) <= LIMITS.side.max)) return
  throw invalid(
    'upscale',
    `a factor with at most ${LIMITS.pixels.max} pixels in the result`,
    `${upscale} (${wide} x ${high})`,
  )
}

/** The faces of a photograph, the largest first, or those that the caller names. */
async function facesOf(photo: Photograph, { options }: PhotoRequest, aligning: AlignOptions): Promise<FoundFace[]> {
  if (options.alignments) return options.alignments.map((alignment, i) => givenFace(alignment, i, photo))
  const search = { confidence: CONFIDENCE, signal: aligning.signal }
  const { faces, tried } = await searchFaces(photo, await aligning.detector(), search)
  if (faces.length === 0) throw noFace('the photograph', tried, WAY_OUT)
  return faces.map(foundFace)
}

async function restoreFaces(
  engine: Engine,
  { options }: PhotoRequest,
  cuts: readonly Cut[],
  matches: readonly Match[],
  people: readonly Person[],
  stop: AbortSignal,
  report: PhotoReport,
): Promise<(Restoration | null)[]> {
  const faces = matches.filter(({ reason }) => reason === null).length
  const prompt = await engine.prompt(options.restore.prompt, stop, () => report({ stage: 'prompt', step: 0, steps: 1 }))
  const restored: (Restoration | null)[] = []
  const began = performance.now()
  let face = 0
  for (const [i, { crop, alignment }] of cuts.entries()) {
    if (matches[i]!.reason !== null) {
      restored.push(null)
      continue
    }
    const references = people.find(({ name }) => name === matches[i]!.person)?.faces ?? []
    const pixels = [{ ...crop, channels: 3 as const }, ...references]
    const result = await engine.face({ pixels, options: options.restore, prompt }, stop, (said) => {
      const done = (face + (said.done ?? 0)) / faces
      const spent = performance.now() - began
      const etaMs = done > 0 ? (spent / done) * (1 - done) : null
      report({ stage: said.stage, step: said.step, steps: said.steps, done, etaMs, face, faces })
    })
    face++
    restored.push(restorationOf(result, { alignment, warnings: [], timings: result.timings }))
  }
  return restored
}

/** Pastes the restored faces into `result`, and says where. */
async function pasteFaces(
  result: Photograph,
  photo: Photograph,
  found: readonly FoundFace[],
  cuts: readonly Cut[],
  restored: readonly (Restoration | null)[],
  { softness, upscale }: PhotoRequest['options'],
  threads: number,
  stop: AbortSignal,
  report: PhotoReport,
): Promise<(PasteMask | null)[]> {
  const scaled = (face: FoundFace) => placeOf(face.landmarks.map(([x, y]) => [x * upscale, y * upscale] as const))
  const pasted = new Set<FoundFace>()
  const toPaste = new Set(cuts.filter((_, i) => restored[i]).map(({ face }) => face))
  const masks: (PasteMask | null)[] = []
  for (const [i, { face, alignment: own }] of cuts.entries()) {
    const picture = restored[i]
    if (!picture) {
      masks.push(null)
      continue
    }
    const alignment = scaledAlignment(own, upscale)
    // What is still to be pasted will take its own pixels back.
    const neighbours = found
      .filter((other) => other !== face && (pasted.has(other) || !toPaste.has(other)))
      .map((other) => ({ ...scaled(other), untouched: !toPaste.has(other) }))
      .filter((other) => cropsTouch(alignment, other))
    const saved = neighbours.length > 0 ? savePart(result, partOf(result, alignment)) : null
    const pixels = (await cropFromRgb(photo, picture)) as Parameters<typeof pasteBack>[1]
    const mask = await pasteBack(result, pixels, alignment, { softness, threads, signal: stop })
    if (saved) await giveBack(result, saved, mask, scaled(face), neighbours)
    stop.throwIfAborted()
    pasted.add(face)
    masks.push(mask)
    report({
      stage: 'paste',
      step: pasted.size,
      steps: toPaste.size,
      face: pasted.size,
      faces: toPaste.size,
      done: 1,
      etaMs: 0,
    })
  }
  return masks
}
