import { expect, it } from 'vitest'
import type { SeriesOut } from '../src/api/types'
import { toCheck } from '../src/pages/dicom'

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
