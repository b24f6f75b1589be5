/**
 * What every command of `iconface` has in common.
 */

import { parseArgs, type ParseArgsConfig } from 'node:util'
import { closest } from '../util/closest'
import { IConFaceError, invalid, shortened } from '../errors'
import type { IConFaceWarning } from '../warning'
import { tell } from './output'

/** One command, in a file of its own name that exports it as `command`. */
export interface Command {
  /** One line for `iconface --help`. */
  summary: string
  /** The text of `iconface <command> --help`. */
  usage: string
  /**
   * @param args What follows the command's name.
   * @param stop Fires on Ctrl-C: the command ends soon and leaves nothing half done.
   */
  run(args: string[], stop: AbortSignal): Promise<void>
}

/** `parseArgs` of Node, strict, whose complaints are errors of this package (exit code 2). */
export function parse<T extends NonNullable<ParseArgsConfig['options']>>(
  args: string[],
  options: T,
): ReturnType<typeof parseArgs<{ args: string[]; options: T; allowPositionals: true; strict: true }>> {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true } as const)
  } catch (cause) {
    throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', complaint(cause as Error, Object.keys(options)), { cause })
  }
}

/** What `parseArgs` complains about, in one line; for an option that does not exist, which one was probably meant. */
function complaint({ message }: Error, names: readonly string[]): string {
  const unknown = /^Unknown option '(-[^']+)'/.exec(message)?.[1]
  if (unknown === undefined) return message.replace(/\s*\n/g, ' ')
  const known = names.map((name) => `--${name}`)
  return `unknown option '${shortened(unknown)}'; did you mean '${closest(shortened(unknown), known)}'? Known: ${known.join(', ')}`
}

/** The number that the value of `--name` spells; `undefined` when it was not given. */
export function numeric(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const number = Number(value)
  if (value.trim() === '' || Number.isNaN(number)) throw invalid(`--${name}`, 'a number', value)
  return number
}

/** The error of a command that an option it needs was not given to. */
export function missing(option: string, what: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', `${option} is missing: name ${what}`)
}

/** Writes warnings to standard error. */
export function warn(warnings: readonly IConFaceWarning[]): void {
  for (const warning of warnings) tell(`iconface: warning: ${warning.message}\n`)
}
