/**
 * What commands write for people to read: progress, durations, sizes, tables.
 */

import type { Progress } from '../options'
import { standardError } from './output'

const BAR_WIDTH = 24

/** What is shown of a job: the progress of a restore, or of anything else that has stages. */
export type Shown = Pick<Progress, 'step' | 'steps' | 'elapsedMs' | 'etaMs'> &
  Partial<Pick<Progress, 'done'>> & { stage: string }

/** Part of it that is done: of all, where that is known, else of the stage. */
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

/** `840 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`
}

function two(n: number): string {
  return String(n).padStart(2, '0')
}

/** `512 B`, `1.5 MiB`, `23.4 GiB`. */
export function byteSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(units.length - 1, bytes < 1024 ? 0 : Math.floor(Math.log2(bytes) / 10))
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power]}`
}

/** Rows of name and value, the values aligned. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}
