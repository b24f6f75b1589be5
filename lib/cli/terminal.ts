/**
 * What commands write for people to read: progress and tables.
 */

import type { Progress } from '../options'
import { duration } from '../util/figures'
import { standardError } from './output'

const BAR_WIDTH = 24

/** What is shown of a job: the progress of a restore, or of anything else that has stages. */
export type Shown = Pick<Progress, 'step' | 'steps' | 'elapsedMs' | 'etaMs'> &
  Partial<Pick<Progress, 'done'>> & { stage: string }

/** The fraction that is done: of the whole job if known, else of the stage. */
function part({ step, steps, done }: Shown): number {
  return done ? done : step / Math.max(1, steps)
}

/** A stream for progress: standard error, or what a test puts in its place. */
export interface Screen {
  write(text: string): unknown
  isTTY?: boolean
  columns?: number
}

/**
 * Shows progress on `screen`: one line drawn over and over on a terminal, elsewhere one line per tenth of a stage.
 *
 * @returns `show` for every report, `end` to leave the screen tidy.
 */
export function progressDisplay(screen: Screen = standardError): { show(progress: Shown): void; end(): void } {
  return screen.isTTY ? bar(screen) : lines(screen)
}

function bar(screen: Screen) {
  let drawn = false
  return {
    show(shown: Shown) {
      const { stage, step, steps, etaMs } = shown
      const full = Math.round(BAR_WIDTH * part(shown))
      const picture = '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full)
      const line = `${stage.padEnd(10)} ${picture} ${step}/${steps}${eta(etaMs)}`
      screen.write(`\r\x1b[2K${line.slice(0, (screen.columns ?? 80) - 1)}`)
      drawn = true
    },
    end() {
      if (drawn) screen.write('\r\x1b[2K')
      drawn = false
    },
  }
}

function lines(screen: Screen) {
  let last = ''
  return {
    show(shown: Shown) {
      const { stage, step, steps, etaMs } = shown
      const tenth = `${stage} ${Math.floor(10 * part(shown))}`
      if (tenth === last) return
      last = tenth
      screen.write(`${stage} ${step}/${steps}${eta(etaMs)}\n`)
    },
    end() {},
  }
}

function eta(ms: number | null): string {
  return ms === null ? '' : `, ${duration(ms)} left`
}

/** Rows of name and value, the values aligned. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}
