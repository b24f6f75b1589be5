#!/usr/bin/env node
/**
 * `iconface <command>`: finds the command, and turns its outcome into messages and an exit code.
 *
 * 0 done; 1 an error; 2 wrong usage; 130 stopped by Ctrl-C.
 */

import { closest } from '../closest'
import { IConFaceError, isIConFaceError } from '../errors'
import { messageOf } from '../realm'
import { type Command, packageVersion } from './command'
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
  if (name === '--version' || name === '-v') return void process.stdout.write(`${packageVersion()}\n`)
  if (!Object.hasOwn(COMMANDS, name)) throw unknownCommand(name)
  const { command } = await COMMANDS[name]!()
  if (rest.includes('--help') || rest.includes('-h')) return void process.stdout.write(command.usage)
  await command.run(rest, stop)
}

function unknownCommand(name: string): IConFaceError {
  const names = Object.keys(COMMANDS)
  const message = `unknown command '${name}'; did you mean '${closest(name, names)}'? Known: ${names.join(', ')}`
  return new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', message)
}

async function help(): Promise<void> {
  const rows = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => [`  ${name}`, (await load()).command.summary] as const),
  )
  process.stdout.write(
    'Restores degraded face photos with the help of reference photos of the same person.\n\n' +
      `Usage: iconface <command> [options]\n\n${table(rows)}\n` +
      '"iconface <command> --help" lists its options; "iconface --version" the version.\n',
  )
}

/** One line with the error's code; the exit code that goes with it. */
function complain(error: unknown): number {
  if (!isIConFaceError(error)) {
    process.stderr.write(
      `iconface: ERR_ICONFACE_INTERNAL: ${(error as Partial<Error> | null)?.stack ?? messageOf(error)}\n`,
    )
    return 1
  }
  process.stderr.write(`iconface: ${error.code}: ${error.message}\n`)
  return error.code === 'ERR_ICONFACE_INVALID_ARGUMENT' ? 2 : 1
}

if (require.main === module) {
  const interrupt = new AbortController()
  process.once('SIGINT', () => {
    interrupt.abort() // a second Ctrl-C finds no listener and ends the process at once
  })
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0) // the reader, such as `head`, has seen enough
    throw error
  })
  main(process.argv.slice(2), interrupt.signal).catch((error: unknown) => {
    process.exitCode = interrupt.signal.aborted ? 130 : complain(error)
    if (interrupt.signal.aborted) process.stderr.write('iconface: ERR_ICONFACE_ABORTED: interrupted\n')
  })
}
