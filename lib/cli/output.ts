/**
 * Writing to the standard streams, also where that fails.
 *
 * Results go to standard output. A reader that has seen enough, such as `head`, ends the command quietly; a full disk
 * or a broken device ends it with an error. Progress and messages go to standard error: where that is full or gone,
 * nobody can be told, and the work goes on.
 */

import { messageOf } from '../util/realm'

/** Writes a result, or a piece of it. */
export function print(text: string): void {
  try {
    process.stdout.write(text)
  } catch (error) {
    endWithout(error) // files and devices throw where pipes emit an event
  }
}

/** Writes for people to read: progress, warnings, errors. */
export function tell(text: string): void {
  try {
    process.stderr.write(text)
  } catch {
    // See above.
  }
}

/** Standard error, as progress is drawn on it. */
export const standardError = {
  write: tell,
  get isTTY(): boolean {
    return process.stderr.isTTY
  },
  get columns(): number {
    return process.stderr.columns
  },
}

/** Hears of failures that come after the write. Called once, by a program's main module. */
export function watchStreams(): void {
  process.stdout.on('error', endWithout)
  process.stderr.on('error', () => {})
}

function endWithout(error: unknown): never {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit() // with the code that it has so far, else 0
  tell(`iconface: ERR_ICONFACE_IO: cannot write to standard output: ${messageOf(error)}\n`)
  process.exit(1)
}
