import { expect, it } from 'vitest'
import type { FileOut } from '../src/api/types'
import {
  factsName,
  type Lesion,
  type Measured,
  measurableWords,
  measuredOf,
  placeOf,
  ruleSentence,
} from '../src/app/measured'

const chord = (ends: Lesion['centre_ras_mm'][]) => ({ mm: 12, low_mm: 11, high_mm: 13, ends_ras_mm: ends as never })
const lesion: Lesion = {
  ...{ number: 1, ml: 2, centre_ras_mm: [9, 9, 9], measurable: true, near_limit: false, target: true },
  planes: [
    {
      ...{ plane: 'axial', file_axis: 2, slice_index: 6 },
      long: chord([
        [0, 2, 4],
        [2, 4, 8],
      ]),
      short: chord([
        [0, 0, 0],
        [0, 0, 0],
      ]),
      product_mm2: 100,
    },
  ],
}
const rule = { region: 'TC', cysts: 'outer', three_planes: false, least_mm: 10, least_ml: 0.05, targets: 5 } as const
const measured: Measured = { rule, lesions: [lesion], smaller: 0, sum_of_products_mm2: 100, sum_of_longest_mm: 12 }

it('takes measurements of facts that have some', () => {
  expect(measuredOf({ measurements: measured })).toBe(measured)
  for (const facts of [null, 7, {}, { measurements: null }, { measurements: { lesions: [] } }])
    expect(measuredOf(facts)).toBeNull()
})

it('reads the facts of the mask that is current', () => {
  const file = (name: string, role: FileOut['role'], version: number) => ({ name, role, version }) as FileOut
  const files = [file('a', 'facts', 0), file('b', 'corrected-facts', 1), file('c', 'corrected-facts', 2)]
  expect([0, 1, 2, 3].map((version) => factsName(files, version))).toEqual(['a', 'b', 'c', null])
})

it('looks at the slice that was measured', () => {
  expect(placeOf(lesion)).toEqual([1, 3, 6])
  expect(placeOf({ ...lesion, planes: [] })).toEqual([9, 9, 9])
})

it('says in words what counts', () => {
  expect(measurableWords(lesion)).toBe('yes')
  expect(measurableWords({ ...lesion, measurable: false, near_limit: true })).toBe('no, near the limit')
  expect(measurableWords({ ...lesion, planes: [] })).toBe('no: nothing of it is solid')
  expect(ruleSentence(measured)).toMatch(
    /parts of TC, measured by their outer contour.* from 10 × 10 mm in the axial plane/,
  )
})
