/**
 * Other packages that this one needs, loaded at their first use: features that do not need a missing one still work,
 * and `iconface doctor` names it.
 */

import { IConFaceError } from '../errors'
import { messageOf } from './realm'

interface Dependency {
  /** Completes the sentence "sharp …". */
  readonly use: string
  readonly load: () => unknown
}

// Every name is written out where it is loaded, so that bundlers see it.
const DEPENDENCIES = {
  sharp: { use: 'decodes and encodes pictures', load: () => require('sharp') },
  'node-gyp-build': { use: 'finds the native addon', load: () => require('node-gyp-build') },
  '@huggingface/tokenizers': { use: 'turns prompts into tokens', load: () => require('@huggingface/tokenizers') },
  '@huggingface/hub': { use: 'lists repositories of the Hub', load: () => require('@huggingface/hub') },
  undici: { use: 'downloads from the Hub', load: () => require('undici') },
} satisfies Record<string, Dependency>

export type DependencyName = keyof typeof DEPENDENCIES
export const DEPENDENCY_NAMES = Object.keys(DEPENDENCIES) as readonly DependencyName[]

/**
 * The package `name`.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_DEPENDENCY_UNAVAILABLE` with what is wrong and what to do.
 */
export function loadDependency(name: DependencyName): unknown {
  const { use, load }: Dependency = DEPENDENCIES[name]
  try {
    return load()
  } catch (cause) {
    const [reason] = messageOf(cause).split('\n')
    const message = `cannot load ${name}, which ${use}: ${reason}; ${remedy(name, cause)}`
    throw new IConFaceError('ERR_ICONFACE_DEPENDENCY_UNAVAILABLE', message, { cause })
  }
}

/** What to do where a package cannot be loaded. */
function remedy(name: DependencyName, cause: unknown): string {
  if (addonsAreDisabled(cause)) return 'Node was told not to load addons: start it without --no-addons'
  const again = `install @iconface/native again, or add it with "npm install ${name}"`
  if (name !== 'sharp' || isAbsent(name, cause)) return again
  return (
    'its part for this platform is missing or does not fit, as after --omit=optional, or where node_modules came from ' +
    `another machine: npm install --include=optional --os=${process.platform} --cpu=${process.arch} sharp`
  )
}

/** Whether Node refused because of `--no-addons` or its permission model. sharp passes the reason on as text alone. */
export function addonsAreDisabled(cause: unknown): boolean {
  return (
    (cause as { code?: unknown } | null)?.code === 'ERR_DLOPEN_DISABLED' || /DLOPEN_DISABLED/.test(messageOf(cause))
  )
}

/** Whether it is the package itself that was not found, rather than something that it needs. */
function isAbsent(name: string, cause: unknown): boolean {
  return messageOf(cause).startsWith(`Cannot find module '${name}'`)
}
