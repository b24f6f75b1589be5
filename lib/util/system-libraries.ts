/**
 * The system's libraries that the addon needs: which versions of what, and which of them this machine lacks.
 */

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readSymbolVersions } from './elf'

/** Something that this machine lacks. */
export interface MissingVersion {
  library: string
  /** Such as `GLIBCXX_3.4.29`; `null` where the library itself is missing. */
  version: string | null
  /** The library's file. */
  file: string | null
  /** The highest version of this kind that it provides; `null` where it provides none. */
  highest: string | null
}

/**
 * The highest version of each kind that a binary needs, such as `['GLIBC_2.34', 'GLIBCXX_3.4.29']`; of no binary, none.
 */
export function neededVersions(binary: string): string[] {
  const versions = Object.values(readSymbolVersions(binary)?.needed ?? {}).flat()
  const kinds = [...new Set(versions.map(kindOf))].sort()
  return kinds.map((kind) => highestOf(kind, versions)!)
}

/** What `binary` needs and this machine lacks. */
export function missingVersions(binary: string): MissingVersion[] {
  const { libraries = [], needed = {} } = readSymbolVersions(binary) ?? {}
  return libraries.flatMap((library): MissingVersion[] => {
    const file = findLibrary(library)
    if (file === null) return [{ library, version: null, file, highest: null }]
    const provided = readSymbolVersions(file)?.provided ?? []
    const missing = (needed[library] ?? []).filter((version) => !provided.includes(version))
    const kinds = [...new Set(missing.map(kindOf))] // of each the highest, with which all the others come
    return kinds.map((kind) => {
      return { library, version: highestOf(kind, missing)!, file, highest: highestOf(kind, provided) ?? null }
    })
  })
}

/** {@link MissingVersion} in words. */
export function describeMissing({ library, version, file, highest }: MissingVersion): string {
  if (version === null) return `${library}, which this system does not have`
  return `${version} of ${library}, and ${file} has ${highest ?? 'none of the kind'}${highest ? ' at most' : ''}`
}

/** The file that the loader would take: one that is loaded already, else the first in the folders that it looks in. */
function findLibrary(name: string): string | null {
  const loaded = loadedLibraries()
  const own = loaded.find((file) => file.endsWith(`/${name}`))
  if (own !== undefined && existsSync(own)) return own
  const named = process.env.LD_LIBRARY_PATH?.split(':').filter((folder) => folder !== '') ?? []
  const folders = [...named, ...loaded.map(dirname), '/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib']
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file)) ?? null
}

/** The version of glibc this process runs with; `null` where there is none (musl, other systems). */
export function glibcVersion(): string | null {
  return report().header?.glibcVersionRuntime ?? null
}

function loadedLibraries(): string[] {
  return (report().sharedObjects ?? []).filter((file) => file.startsWith('/'))
}

function report(): { header?: { glibcVersionRuntime?: string }; sharedObjects?: string[] } {
  return (process.report?.getReport() ?? {}) as ReturnType<typeof report>
}

/** `GLIBCXX` of `GLIBCXX_3.4.29`. */
function kindOf(version: string): string {
  return version.replace(/_[\d.]+$/, '')
}

function highestOf(kind: string, versions: readonly string[]): string | undefined {
  const same = versions.filter((version) => kindOf(version) === kind)
  return same.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
}
