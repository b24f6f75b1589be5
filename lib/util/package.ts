/**
 * This package itself: where it lies, and which version it is.
 */

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The package's own folder, in a checkout and in node_modules alike. */
export const PACKAGE_ROOT = resolve(__dirname, '..', '..')

/** The version in package.json. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string }).version
}
