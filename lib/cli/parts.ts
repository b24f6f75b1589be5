/** The parts of a model as `prepare` and `inspect` list them. */
import type { Missing } from '../prepare/survey'
import { table } from './terminal'
import { byteSize } from '../util/figures'

/** What lies where, under whose names, how large, and perhaps what is done or to be done about it. */
export function partRow(
  title: string,
  { file, naming, bytes }: { readonly file: string; readonly naming: string; readonly bytes: number },
  remark?: string,
): readonly [string, string] {
  const facts = [naming, byteSize(bytes), ...(remark === undefined ? [] : [remark])]
  return [`  ${title}`, `${file} (${facts.join(', ')})`]
}

export function missingTable(missing: readonly Missing[]): string {
  return `missing\n${table(missing.map(({ title, cost }) => [`  ${title}`, cost]))}`
}
