#!/usr/bin/env node
// The table of the ablation from reports of `iconface evaluate --json`, the first one being what others are compared with.
//     node training/compare_variants.mjs [--references 1] concat.json structure.json ... full.json
// Means over the people, and paired differences to the first report with half widths of their 95 % confidence intervals.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  options: { references: { type: 'string', default: '1' } },
  allowPositionals: true,
})
const MEASURES = {
  'PSNR, dB': (x) => x.psnr,
  SSIM: (x) => x.ssim,
  'identity, reference 1': (x) => x.identity?.reference,
  'identity, truth': (x) => x.identity?.truth,
  'landmark error': (x) => x.landmarks?.mean,
}

function mean(list) {
  const average = list.reduce((a, b) => a + b, 0) / list.length
  const variance = list.reduce((sum, x) => sum + (x - average) ** 2, 0) / (list.length - 1)
  return { average, half: 1.96 * Math.sqrt(variance / list.length) }
}

/** name -> restored case, for the wanted severity and number of references. */
const restored = (report, severity) =>
  new Map(
    report.cases
      .filter((one) => one.severity === severity)
      .map((one) => [one.name, one.restored.find(({ references }) => String(references) === values.references)]),
  )

const reports = positionals.map((file) => [basename(file, '.json'), JSON.parse(readFileSync(file, 'utf8'))])
if (reports.length < 2) throw new Error('expected two reports or more')
for (const severity of new Set(reports[0][1].cases.map((one) => one.severity))) {
  const [[first, base]] = reports
  const ground = restored(base, severity)
  console.log(`\n| ${severity}, ${ground.size} people | ${Object.keys(MEASURES).join(' | ')} |`)
  console.log(`|${'---|'.repeat(1 + Object.keys(MEASURES).length)}`)
  for (const [name, report] of reports) {
    const own = restored(report, severity)
    const cells = Object.values(MEASURES).map((of) => {
      const names = [...ground.keys()].filter(
        (key) => own.has(key) && [own, ground].every((x) => Number.isFinite(of(x.get(key)))),
      )
      const { average } = mean(names.map((key) => of(own.get(key))))
      const digits = average > 10 ? 2 : average < 0.2 ? 4 : 3
      if (name === first) return average.toFixed(digits)
      const gain = mean(names.map((key) => of(own.get(key)) - of(ground.get(key))))
      return `${average.toFixed(digits)} (${gain.average < 0 ? '' : '+'}${gain.average.toFixed(digits)} ± ${gain.half.toFixed(digits)})`
    })
    console.log(`| ${name} | ${cells.join(' | ')} |`)
  }
}
