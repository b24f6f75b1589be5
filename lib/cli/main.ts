#!/usr/bin/env node
/**
 * `iconface <command>`: finds the command, and turns its outcome into messages and an exit code.
 *
 * 0 done, also where a reader of the output went away; 1 an error, also where the output cannot be written; 2 wrong
 * usage; 130 stopped by Ctrl-C.
 */

import { closest } from '../util/closest'
import { IConFaceError, isIConFaceError, shortened } from '../errors'
import { messageOf } from '../util/realm'
import { type Command } from './command'
import { packageVersion } from '../util/package'
import { print, tell, watchStreams } from './output'
import { table } from './terminal'

const COMMANDS: Record<string, () => Promise<{ command: Command }>> = {
  restore: () => import('./restore.js'),
  degrade: () => import('./degrade.js'),
  prepare: () => import('./prepare.js'),
  convert: () => import('./convert.js'),
  inspect: () => import('./inspect.js'),
  synthesize: () => import('./synthesize.js'),
  demo: () => import('./demo.js'),
  evaluate: () => import('./evaluate.js'),
  doctor: () => import('./doctor.js'),
  bench: () => import('./bench.js'),
}

async function main(args: string[], stop: AbortSignal): Promise<void> {
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return help()
  if (name === '--version' || name === '-v') return print(`${packageVersion()}\n`)
  if (!Object.hasOwn(COMMANDS, name)) throw unknownCommand(name)
  const { command } = await COMMANDS[name]!()
  if (rest.includes('--help') || rest.includes('-h')) return print(command.usage)
  await command.run(rest, stop)
}

function unknownCommand(name: string): IConFaceError {
  const names = Object.keys(COMMANDS)
  const message = `unknown command '${shortened(name)}'; did you mean '${closest(shortened(name), names)}'? Known: ${names.join(', ')}`
  return new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', message)
}

async function help(): Promise<void> {
  const rows = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => [`  ${name}`, (await load()).command.summary] as const),
  )
  print(
    'Restores degraded face photos with the help of reference photos of the same person.\n\n' +
      `Usage: iconface <command> [options]\n\n${table(rows)}\n` +
      '"iconface <command> --help" lists its options; "iconface --version" the version.\n' +
      'Exit codes: 0 done, 1 an error, 2 wrong usage, 130 stopped by Ctrl-C.\n',
  )
}

/** One line with the error's code; the exit code that goes with it. */
function complain(error: unknown): number {
  if (!isIConFaceError(error)) {
    tell(`iconface: ERR_ICONFACE_INTERNAL: ${(error as Partial<Error> | null)?.stack ?? messageOf(error)}\n`)
    return 1
  }
  tell(`iconface: ${error.code}: ${error.message}\n`)
  return error.code === 'ERR_ICONFACE_INVALID_ARGUMENT' ? 2 : 1
}

/** Runs one command line, and says what went wrong. The exit code is left in `process.exitCode`, where it is not 0. */
export async function run(args: string[], stop: AbortSignal): Promise<void> {
  try {
    await main(args, stop)
  } catch (error) {
    process.exitCode = stop.aborted ? 130 : complain(error)
    if (stop.aborted) tell('iconface: ERR_ICONFACE_ABORTED: interrupted\n')
  }
}

if (require.main === module) {
  const interrupt = new AbortController()
  process.once('SIGINT', () => {
    interrupt.abort() // a second Ctrl-C finds no listener and ends the process at once
  })
  watchStreams()
  void run(process.argv.slice(2), interrupt.signal)
}
