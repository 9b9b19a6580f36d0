import { expect, it } from 'vitest'
import type { SeriesOut } from '../src/api/types'
import { namedOnly, toCheck } from '../src/pages/dicom'

const series = (change: Partial<SeriesOut>): SeriesOut => ({
  key: 't2w',
  sequence: 't2w',
  shape: [4, 4, 4],
  spacing_mm: [1, 1, 1],
  orientation: 'RAS',
  warnings: [],
  sha256: '',
  bytes: 1,
  ...change,
})

it('lists what was found in an archive, also what was recognised or left out', () => {
  expect(toCheck(series({ confidence: 0.95 }))).toBe(true)
  expect(toCheck(series({ confidence: 0.95, sequence: null }))).toBe(true)
  expect(toCheck(series({ key: 'series-1', sequence: null }))).toBe(true)
})

it('leaves alone what was put into its slot by hand', () => {
  expect(toCheck(series({}))).toBe(false)
  expect(toCheck(series({ confidence: null }))).toBe(false)
})

it('takes what a file is called for a name, not for a finding', () => {
  expect(namedOnly(series({ confidence: 0.95, reason: 'BIDS file name: flair' }))).toBe(true)
  expect(namedOnly(series({ confidence: 0.95, reason: 'words in the file name say t2w' }))).toBe(true)
  expect(namedOnly(series({ confidence: 0.95, reason: 'series 3: echo and inversion times' }))).toBe(false)
})
