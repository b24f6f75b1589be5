/** RetinaFace: the network, what its numbers mean, and the decisions around it. */
import type { Checkpoint } from '../../dist/networks/index.js'
import type { Tensor } from '../../dist/ops/index.js'
import { decodeFaces, type DetectedFace, faceScore, type Predictions, priorAt } from '../../dist/photo/anchors.js'
import { detectionAttempts, detectorSize, type FaceSelection, selectFace } from '../../dist/photo/policy.js'
import { channelsFirst, channelsLast, item, reshape, values } from './arrange'
import { summaries } from './face'
import type { Golden, Json } from './golden'
import type { Run } from './run'
import { type Limit, LIMITS } from './sheet'

interface DetectorRun {
  network_hw: [number, number]
  resize_short_edge: number
  conf_threshold: number
  nms_threshold: number
  pre_nms_topk: number
  post_nms_topk: number
}

interface Limits {
  raw: Limit
  maps: Limit
}

/** `retinaface_*`: every run of the file; the weights of the full-size one are computed, not stored. */
export async function compareDetector(golden: Golden, run: Run): Promise<void> {
  const limits =
    golden.metadata.formula === undefined
      ? { raw: LIMITS.detector, maps: LIMITS.detectorMaps }
      : { raw: LIMITS.detectorFormula, maps: LIMITS.detectorFormula }
  await compareRuns(golden, run, await run.checkpoint(golden, { 'weight.': 'detector.' }, {}), limits)
}

async function compareRuns(golden: Golden, run: Run, checkpoint: Checkpoint, limits: Limits): Promise<void> {
  const networks = await run.networks(checkpoint)
  for (const [name, settings] of Object.entries(golden.json<Record<string, DetectorRun>>('runs'))) {
    const infix = name === '' ? '' : `${name}.`
    const pixels = golden.read(`input.${infix}image_rgb_u8`)
    const [rows, columns] = pixels.shape as [number, number, number]
    const { height, width, scale } = detectorSize(rows, columns, settings.resize_short_edge)
    run.verdict(`${infix}network_hw`, String([height, width]) === String(settings.network_hw))
    await compareDetectorInput(golden, run, infix, pixels, { height, width })
    const result = await networks.run('face_detection', { pixels }, { height, width, trace: run.verbose })
    const { boxes, logits, landmarks } = result
    const predictions = { boxes: values(boxes), logits: values(logits), landmarks: values(landmarks) }
    compareMaps(golden, run, infix, { ...result, 'trace.class_logits': logits } as Record<string, Tensor>, limits.maps)
    comparePredictions(golden, run, infix, predictions, limits.raw)
    compareDetections(golden, run, infix, { predictions, height, width, scale, settings })
  }
}

async function compareDetectorInput(
  golden: Golden,
  run: Run,
  infix: string,
  pixels: Tensor,
  size: { height: number; width: number },
): Promise<void> {
  const { out } = await run.ops.run('detector_input', { pixels }, size)
  const expected = values(golden.read(`input.${infix}tensor_bgr`))
  run.compare(`${infix}tensor_bgr`, values(channelsFirst(out)), expected, LIMITS.exact)
}

/** Feature maps, whole or as their beginnings and three numbers. */
function compareMaps(
  golden: Golden,
  run: Run,
  infix: string,
  traced: Readonly<Record<string, Tensor>>,
  limit: Limit,
): void {
  for (const [name, map] of Object.entries(traced)) {
    if (!name.startsWith('trace.')) continue
    // The logits are rows of their own, not a map of channels.
    const ours = name === 'trace.class_logits' ? channelsLast(reshape(map, [1, map.shape[0]!, 2])) : item(map, 0)
    const parts = summaries(name.slice('trace.'.length), reshape(ours, [1, ...ours.shape]))
    for (const [part, tensor] of Object.entries(parts)) {
      const stored = `intermediate.${infix}${part}`
      if (golden.has(stored)) run.intermediate(`${infix}${part}`, values(tensor), values(golden.read(stored)), limit)
    }
  }
}

function comparePredictions(golden: Golden, run: Run, infix: string, predictions: Predictions, limit: Limit): void {
  const { boxes, logits, landmarks } = predictions
  const shares = logits.map((_, i) => {
    const face = faceScore(logits[i - (i % 2)]!, logits[i - (i % 2) + 1]!)
    return i % 2 === 1 ? face : 1 - face
  })
  const expected = (name: string) => values(golden.read(`output.${infix}${name}`))
  run.compare(`${infix}loc`, boxes, expected('loc'), limit)
  run.compare(`${infix}conf`, shares, expected('conf'), limit)
  run.compare(`${infix}landmarks`, landmarks, expected('landmarks'), limit)
}

interface Decoding {
  predictions: Predictions
  height: number
  width: number
  scale: number
  settings: DetectorRun
}

function compareDetections(golden: Golden, run: Run, infix: string, decoding: Decoding): void {
  const { predictions, height, width, scale, settings } = decoding
  const all = Array.from({ length: predictions.logits.length / 2 }, (_, row) => priorAt(row, height, width)).flat()
  run.intermediate(`${infix}priors`, all, values(golden.read(`intermediate.${infix}priors`)), LIMITS.image)
  const faces = decodeFaces(predictions, height, width, {
    confidence: settings.conf_threshold,
    overlap: settings.nms_threshold,
    candidates: settings.pre_nms_topk,
    faces: settings.post_nms_topk,
  })
  const expected = golden.read(`output.${infix}detections`)
  const rows = faces.map(({ box, score, landmarks }) => ({ places: [...box, ...landmarks.flat()], score }))
  const stored = Array.from({ length: expected.shape[0]! }, (_, i) => [...values(item(expected, i))])
  const places = stored.flatMap((row) => [...row.slice(0, 4), ...row.slice(5)])
  run.verdict(`${infix}faces`, rows.length === stored.length, `${rows.length} of ${stored.length}`)
  const found = rows.flatMap((row) => row.places.map((place) => place / scale))
  run.compare(`${infix}detections`, found, places, LIMITS.detectedPixels, 'pixels')
  run.compare(
    `${infix}scores`,
    rows.map(({ score }) => score),
    stored.map((row) => row[4]!),
    LIMITS.detectedScores,
  )
}

interface Policy {
  attempt_order_when_nothing_is_found: {
    resize_short_edge: number
    conf_threshold: number
    attempts: [number, number][]
  }[]
  network_input_size: {
    image_wh: [number, number]
    resize_short_edge: number
    network_wh: [number, number]
    scale: number
  }[]
  selection: {
    image_hw: [number, number]
    boxes_xyxy_score: [number, number, number, number, number][]
    expected_index: Record<FaceSelection, number>
  }[]
}

/** `detection_policy`: what is tried, at which size, and which face is taken. */
export function compareDetectionPolicy(json: Json, run: Run): Promise<void> {
  const policy = json as unknown as Policy
  for (const { resize_short_edge, conf_threshold, attempts } of policy.attempt_order_when_nothing_is_found) {
    const ours = detectionAttempts(resize_short_edge, conf_threshold).flatMap((a) => [a.shortSide, a.confidence])
    run.compare(`attempts at ${resize_short_edge}, ${conf_threshold}`, ours, attempts.flat(), LIMITS.exact)
  }
  for (const { image_wh, resize_short_edge, network_wh, scale } of policy.network_input_size) {
    const size = detectorSize(image_wh[1], image_wh[0], resize_short_edge)
    const expected = [...network_wh, scale]
    run.compare(`size of ${image_wh.join(' x ')}`, [size.width, size.height, size.scale], expected, LIMITS.matrix)
  }
  for (const [i, { image_hw, boxes_xyxy_score, expected_index }] of policy.selection.entries()) {
    const faces = boxes_xyxy_score.map(([a, b, c, d, score]): Pick<DetectedFace, 'box' | 'score'> => ({
      box: [a, b, c, d],
      score,
    }))
    const modes = Object.entries(expected_index) as [FaceSelection, number][]
    const chosen = modes.map(([mode]) => selectFace(faces, mode, ...image_hw))
    run.compare(
      `selection ${i}`,
      chosen,
      modes.map(([, index]) => index),
      LIMITS.exact,
    )
  }
  return Promise.resolve()
}
