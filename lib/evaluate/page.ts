/**
 * An evaluation as one HTML file that needs nothing else: tables and picture strips.
 */

import { showsCaller } from '../util/caller'
import { sharp } from '../picture/sharp'
import { cannot } from '../util/shortage'
import type { CaseResult, Evaluation, ResultPictures } from './evaluation'
import { type Measures, METRIC_NAMES, METRICS } from './measure'
import type { RgbImage } from './pixels'
import { headLine, measured, notes, pictureName, severityTable } from './report'

/** Cases of each severity whose pictures a page shows. */
const SHOWN_CASES = 30

interface Shown {
  caption: string
  measures: Measures | null
  /** A data URI. */
  picture: string
}

/** Collects what the page shows while the evaluation runs; hand `add` to `evaluate` as `onCase`. */
export class EvaluationPage {
  readonly #strips: { result: CaseResult; pictures: Shown[] }[] = []
  readonly #counts = new Map<string, number>()

  /** Keeps the pictures of a case, unless `SHOWN_CASES` of its severity are kept already. */
  @showsCaller
  async add(result: CaseResult, { input, references, restored, truth }: ResultPictures): Promise<void> {
    const count = this.#counts.get(result.severity) ?? 0
    this.#counts.set(result.severity, count + 1)
    if (count >= SHOWN_CASES) return
    const show = async (caption: string, measures: Measures | null, image: RgbImage) => ({
      caption,
      measures,
      picture: await dataUri(image),
    })
    const pictures = [
      show('degraded', result.degraded, input),
      ...references.map((image, i) => show(`reference ${i + 1}`, null, image)),
      ...restored.map((image, i) => show(pictureName(result.restored[i]!.references), result.restored[i]!, image)),
      show('truth', null, truth),
    ]
    this.#strips.push({ result, pictures: await Promise.all(pictures) })
  }

  /** The HTML. */
  html(evaluation: Evaluation): string {
    const sections = evaluation.summary.map(({ severity, cases }) => {
      const strips = this.#strips.filter(({ result }) => result.severity === severity)
      const all = strips.length === cases ? '' : `<p>The first ${strips.length} of ${cases} cases.</p>`
      return `<h2>${escape(severity)}</h2>${all}\n${strips.map(stripHtml).join('\n')}`
    })
    return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of ${escape(evaluation.model.name)}</title>
<style>${STYLE}</style>
<h1>Evaluation of ${escape(evaluation.model.name)}</h1>
<p>${escape(headLine(evaluation))}</p>
${tablesHtml(evaluation)}
<ul>${notes(evaluation)
      .map((note) => `<li>${escape(note)}</li>`)
      .join('')}</ul>
${sections.join('\n')}
</html>
`
  }
}

const STYLE = `
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1c1c1c }
h2 { margin: 2.2rem 0 .6rem; text-transform: capitalize }
table { border-collapse: collapse; margin: 0 0 1.4rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
thead th { border-bottom: 1px solid #999 }
tr.gain td { color: #666 }
tr.gain.first td { border-top: 1px solid #ddd }
.tables { overflow-x: auto }
ul { color: #555; padding-left: 1.2rem }
.strip { border-top: 1px solid #ddd; padding: .8rem 0; overflow-x: auto }
.strip h3 { font-size: 1rem; margin: 0 0 .4rem }
.strip > div { display: flex; gap: .6rem }
figure { margin: 0; flex: 0 0 10rem }
figure img { width: 10rem; height: 10rem; display: block; border-radius: 3px }
figcaption { font-size: .8rem; line-height: 1.35 }
figcaption b { display: block; margin-top: .2rem }
figcaption span { display: flex; justify-content: space-between; color: #555; font-variant-numeric: tabular-nums }
`

function tablesHtml(evaluation: Evaluation): string {
  const names = measured(evaluation)
  const head = names.map(
    (name) => `<th>${escape(METRICS[name].label)} ${METRICS[name].better === 'higher' ? '↑' : '↓'}`,
  )
  const tables = evaluation.summary.map((summary) => {
    const { heading, rows } = severityTable(summary, names)
    const body = rows.map(({ name, values, gain }, i) => {
      const kind = gain ? `gain${rows[i - 1]?.gain ? '' : ' first'}` : 'value'
      return `<tr class="${kind}"><td>${escape(name)}${values.map((value) => `<td>${escape(value)}`).join('')}`
    })
    return `<table><thead><tr><th>${escape(heading)}${head.join('')}<tbody>${body.join('\n')}</table>`
  })
  return `<div class="tables">${tables.join('\n')}</div>`
}

function stripHtml({ result, pictures }: { result: CaseResult; pictures: Shown[] }): string {
  return `<div class="strip"><h3>${escape(result.name)}</h3><div>${pictures.map(figureHtml).join('\n')}</div></div>`
}

function figureHtml({ caption, measures, picture }: Shown): string {
  const numbers = METRIC_NAMES.map((name) => [METRICS[name], measures && METRICS[name].read(measures)] as const)
  const lines = numbers.flatMap(([{ label, digits }, value]) =>
    value === null ? [] : [`<span>${escape(label)} <i>${value.toFixed(digits)}</i></span>`],
  )
  const name = escape(caption)
  return `<figure><img src="${picture}" alt="${name}"><figcaption><b>${name}</b>${lines.join('')}</figcaption></figure>`
}

async function dataUri({ data, width, height }: RgbImage): Promise<string> {
  const webp = await sharp(data, { raw: { width, height, channels: 3 } })
    .webp({ quality: 92 })
    .toBuffer()
    .catch(cannot('encode a picture of the page'))
  return `data:image/webp;base64,${webp.toString('base64')}`
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!)
}
