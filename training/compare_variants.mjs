#!/usr/bin/env node
// The table of the ablation from reports of `iconface evaluate --json`, the first one being what others are compared with.
//     node training/compare_variants.mjs [--references 1] concat.json structure.json ... full.json
// Means over the people, and paired differences to the first report with half widths of their 95 % confidence intervals.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { estimate, pairedDifference } from '@iconface/native/evaluate'

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
      const pairs = [...ground.keys()].map((key) => [own, ground].map((x) => of(x.get(key) ?? {}) ?? null))
      const whole = pairs.filter(([a, b]) => a !== null && b !== null)
      const average = estimate(whole.map(([a]) => a)).mean
      const digits = average > 10 ? 2 : average < 0.2 ? 4 : 3
      if (name === first) return average.toFixed(digits)
      const { mean, interval } = pairedDifference(...[0, 1].map((side) => whole.map((pair) => pair[side])))
      const gain = `${mean < 0 ? '' : '+'}${mean.toFixed(digits)} ± ${(interval[1] - mean).toFixed(digits)}`
      return `${average.toFixed(digits)} (${gain})`
    })
    console.log(`| ${name} | ${cells.join(' | ')} |`)
  }
}
