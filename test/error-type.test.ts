// The error type: codes, wording, and recognition across copies of the module.
import { cpSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { closest } from '../dist/util/closest.js'
import {
  describeValue,
  fileError,
  ICONFACE_ERROR_CODES,
  IConFaceError,
  invalid,
  isIConFaceError,
} from '../dist/errors.js'

t.test('codes are distinct and begin alike', async (t) => {
  t.equal(new Set(ICONFACE_ERROR_CODES).size, ICONFACE_ERROR_CODES.length)
  t.ok(ICONFACE_ERROR_CODES.every((code) => code.startsWith('ERR_ICONFACE_')))
})

t.test('an error carries its code, name and cause', async (t) => {
  const cause = new Error('inner')
  const error = new IConFaceError('ERR_ICONFACE_IO', 'outer', { cause })
  t.ok(error instanceof Error)
  t.match(error, { code: 'ERR_ICONFACE_IO', message: 'outer', name: 'IConFaceError', cause })
  t.equal(String(error), 'IConFaceError: outer')
  t.notOk('cause' in new IConFaceError('ERR_ICONFACE_IO', 'x'))
})

t.test('errors of another copy of the package are recognised, others are not', async (t) => {
  const folder = t.testdir({})
  const copy = join(folder, 'errors.js')
  for (const file of ['errors.js', 'util/realm.js']) cpSync(resolve(__dirname, '../dist', file), join(folder, file))
  const other = require(copy) as typeof import('../dist/errors.js')
  const error = new other.IConFaceError('ERR_ICONFACE_IO', 'x')
  t.notOk(error instanceof IConFaceError)
  t.ok(isIConFaceError(error))
  t.ok(other.isIConFaceError(new IConFaceError('ERR_ICONFACE_IO', 'x')))
  for (const value of [null, undefined, 'x', 7, {}, new Error('x'), { code: 'ERR_ICONFACE_IO' }])
    t.notOk(isIConFaceError(value))
})

t.test('invalid says expected and received', async (t) => {
  const error = invalid('steps', 'a whole number', '12')
  t.match(error, {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: 'expected a whole number for steps but received "12"',
  })
})

t.test('values are described shortly and never fail', async (t) => {
  class Thing {}
  const cases: [unknown, string][] = [
    ['a"b', '"a\\"b"'],
    ['x'.repeat(100), `"${'x'.repeat(100)}"`],
    [`a${'x'.repeat(999)}z`, `"a${'x'.repeat(48)}…${'x'.repeat(49)}z"`],
    [-0, '-0'],
    [NaN, 'NaN'],
    [10n, '10n'],
    [null, 'null'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 'a', {}], '[1, "a", …]'],
    [Array(9).fill(0), '[0, 0, 0, 0, 0, 0, 0, 0, … 9 in all]'],
    [new Uint8Array(3), 'a Uint8Array of 3 bytes'],
    [{}, 'an object'],
    [new Thing(), 'an instance of Thing'],
    [Object.create(null), 'an object'],
    [function named() {}, 'the function named'],
    [() => 0, 'a function'],
  ]
  for (const [value, text] of cases) t.equal(describeValue(value), text)
})

t.test('file system errors keep their reason', async (t) => {
  const gone = Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' })
  t.match(fileError('read', '/x', gone), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: '/x does not exist',
    cause: gone,
  })
  const inFile = Object.assign(new Error('ENOTDIR: not a directory'), { code: 'ENOTDIR' })
  t.match(fileError('read', '/x/y', inFile), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: 'cannot read /x/y: it, or what it should lie in, is not a folder',
  })
  const full = Object.assign(new Error('ENOSPC: disk full'), { code: 'ENOSPC' })
  t.match(fileError('write', '/x', full), { code: 'ERR_ICONFACE_IO', message: 'cannot write /x: ENOSPC: disk full' })
})

t.test('the closest name', async (t) => {
  t.equal(closest('ropeTetha', ['file', 'ropeTheta', 'ropeAxes']), 'ropeTheta')
  t.equal(closest('FILE', ['files', 'file']), 'file')
  t.equal(closest('x', []), undefined)
})
