/**
 * Cases from a folder of photographs.
 *
 * Either a folder for each case, or one for each kind of picture:
 *
 *     DIR/anna/input.jpg  truth.png  ref1.jpg  ref2.jpg
 *     DIR/input/anna.jpg  DIR/truth/anna.png  DIR/references/anna/1.jpg  2.jpg
 */

import { readdir, stat } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { showsCaller } from '../util/caller'
import { fileError, IConFaceError, invalid } from '../errors'
import type { EvaluationCase } from './case'

/** The severity of cases whose degradation nobody described. */
const AS_GIVEN = 'as given'

const PICTURE = /\.(png|jpe?g|webp|avif|tiff?|gif)$/i
const LAYOUTS =
  'expected DIR/<name>/input.png, truth.png, ref1.png ... or DIR/input/<name>.png, DIR/truth/<name>.png, ' +
  'DIR/references/<name>/...'

interface Files {
  input: string
  truth: string
  references: string[]
}

/**
 * The cases in `folder`, by name. No picture is read yet: a broken one is found when its case is loaded.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` for a picture that is missing, `ERR_ICONFACE_INVALID_ARGUMENT`
 *         for a file that belongs to no case (each names it) and for what is no path.
 */
export const pairedCases = showsCaller(async function pairedCases(folder: string): Promise<EvaluationCase[]> {
  if (typeof folder !== 'string' || folder === '') throw invalid('folder', 'the path of a folder', folder)
  const { folders, files } = await listing(folder)
  const flat = folders.includes('input') || folders.includes('truth')
  if (files.length > 0) throw odd(join(folder, files[0]!))
  if (folders.length === 0) throw missing(join(folder, '*'), LAYOUTS)
  const cases = flat ? await flatCases(folder, folders) : await folderCases(folder, folders)
  return cases.map(([name, pictures]) => ({
    name,
    severity: AS_GIVEN,
    references: pictures.references.length,
    load: async () => ({ ...pictures, landmarks: null }),
  }))
})

/** `DIR/<name>/{input,truth}.*` and `ref*.*`. */
async function folderCases(folder: string, names: string[]): Promise<[string, Files][]> {
  const cases: [string, Files][] = []
  for (const name of names) {
    const place = join(folder, name)
    const { folders, files } = await listing(place)
    if (folders.length > 0) throw odd(join(place, folders[0]!))
    const stems = new Map<string, string>()
    for (const file of files) remember(stems, place, file)
    const take = (stem: string) => {
      const file = stems.get(stem)
      if (file === undefined) throw missing(join(place, `${stem}.*`), `every case needs one; ${LAYOUTS}`)
      stems.delete(stem)
      return file
    }
    const [input, truth] = [take('input'), take('truth')]
    for (const [stem, file] of stems) if (!/^ref/i.test(stem)) throw odd(file)
    cases.push([name, { input, truth, references: [...stems.values()] }])
  }
  return cases
}

/** `DIR/input/<name>.*`, `DIR/truth/<name>.*` and `DIR/references/<name>/*`. */
async function flatCases(folder: string, folders: string[]): Promise<[string, Files][]> {
  for (const name of folders) if (!['input', 'truth', 'references'].includes(name)) throw odd(join(folder, name))
  const [inputs, truths] = [await stemsOf(join(folder, 'input')), await stemsOf(join(folder, 'truth'))]
  const references = folders.includes('references') ? await referencesOf(join(folder, 'references')) : new Map()
  for (const [stem, file] of truths) {
    if (!inputs.has(stem)) throw missing(join(folder, 'input', `${stem}.*`), `${file} is its truth`)
  }
  for (const [stem, files] of references as Map<string, string[]>) {
    if (!inputs.has(stem)) throw missing(join(folder, 'input', `${stem}.*`), `${files[0]} is a reference for it`)
  }
  return [...inputs].map(([stem, input]) => {
    const truth = truths.get(stem)
    if (truth === undefined) throw missing(join(folder, 'truth', `${stem}.*`), `${input} needs it`)
    return [stem, { input, truth, references: (references.get(stem) as string[] | undefined) ?? [] }]
  })
}

async function referencesOf(folder: string): Promise<Map<string, string[]>> {
  const { folders, files } = await listing(folder)
  if (files.length > 0) throw odd(join(folder, files[0]!))
  const references = new Map<string, string[]>()
  for (const name of folders) references.set(name, [...(await stemsOf(join(folder, name))).values()])
  return references
}

/** The pictures in a folder by their name without extension. */
async function stemsOf(folder: string): Promise<Map<string, string>> {
  const { folders, files } = await listing(folder)
  if (folders.length > 0) throw odd(join(folder, folders[0]!))
  const stems = new Map<string, string>()
  for (const file of files) remember(stems, folder, file)
  return stems
}

function remember(stems: Map<string, string>, folder: string, file: string): void {
  const path = join(folder, file)
  if (!PICTURE.test(file)) throw odd(path)
  const { name } = parse(file)
  const other = stems.get(name)
  if (other !== undefined) throw invalidFile(`${path} and ${other} have the same name; keep one of them`)
  stems.set(name, path)
}

/** What is in a folder, hidden files left out, 2 before 10. */
async function listing(folder: string): Promise<{ folders: string[]; files: string[] }> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw fileError('list', folder, cause)
  })
  const [folders, files]: [string[], string[]] = [[], []]
  const visible = names.filter((name) => !name.startsWith('.'))
  for (const name of visible.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))) {
    const path = join(folder, name)
    const found = await stat(path).catch(() => null) // a link that leads nowhere is a picture that cannot be read
    ;(found?.isDirectory() ? folders : files).push(name)
  }
  return { folders, files }
}

function odd(path: string): IConFaceError {
  return invalidFile(`${path} belongs to no case; ${LAYOUTS}; take it away or give it such a name`)
}

function invalidFile(message: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', message)
}

function missing(path: string, why: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', `${path} does not exist: ${why}`)
}
