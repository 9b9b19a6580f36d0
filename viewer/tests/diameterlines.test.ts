import { expect, it } from 'vitest'
import { csvOf, keyOf, linesOf, measuredNow, wordsOf } from '../src/app/diameterlines'
import type { Lesion, Measured, Point } from '../src/app/measured'

const chord = (mm: number, from: Point, to: Point) => ({
  mm,
  low_mm: mm - 1,
  high_mm: mm + 1,
  ends_ras_mm: [from, to] as const,
})
const lesion = (number: number, target: boolean): Lesion => ({
  ...{ number, ml: 2, centre_ras_mm: [0, 0, 0], measurable: target, near_limit: true, target },
  planes: [
    {
      ...{ plane: 'axial', file_axis: 2, slice_index: 7 },
      long: chord(20, [0, 0, 5], [20, 0, 5]),
      short: chord(12, [10, -6, 5], [10, 6, 5]),
      product_mm2: 240,
    },
  ],
})
const rule = { region: 'TC', cysts: 'outer', three_planes: false, least_mm: 10, least_ml: 0.05, targets: 5 } as const
const measured: Measured = {
  rule,
  lesions: [lesion(1, true), lesion(2, true), { ...lesion(3, false), planes: [] }],
  ...{ smaller: 0, sum_of_products_mm2: 480.1, sum_of_longest_mm: 40 },
}
const moved = (kind: 'long' | 'short', from: Point, to: Point) =>
  new Map([[keyOf(1, 'axial', kind), [from, to] as const]])

it('keeps every number of the file while nothing is moved', () => {
  const now = measuredNow(measured, new Map())
  expect([now.sum_of_products_mm2, now.sum_of_longest_mm, now.sumsMoved]).toEqual([480.1, 40, false])
  expect(now.lesions.map((one) => [one.moved, one.near_limit])).toEqual([
    [false, true],
    [false, true],
    [false, true],
  ])
  expect(linesOf(measured, new Map())).toHaveLength(4)
})

it('measures what was moved, says so, and keeps what was not', () => {
  const now = measuredNow(measured, moved('long', [0, 0, 5], [30, 0, 5]))
  const [first, second] = now.lesions
  expect(first?.planes[0]).toMatchObject({ moved: true, product_mm2: 360, degrees: 90 })
  expect(first?.planes[0]?.long.mm).toBe(30)
  expect([first?.moved, first?.near_limit, second?.moved]).toEqual([true, false, false])
  expect([now.sumsMoved, now.sum_of_products_mm2, now.sum_of_longest_mm]).toEqual([true, 600, 50])
  expect(wordsOf(now, 1, 'axial')).toBe('1: 30.0 × 12.0 mm, moved by hand')
  expect(wordsOf(now, 2, 'axial')).toBe('2: 20.0 × 12.0 mm')
})

it('names the longer one long, though it was computed as the short one', () => {
  const now = measuredNow(measured, moved('short', [10, -20, 5], [10, 20, 5]))
  expect([now.lesions[0]?.planes[0]?.long.mm, now.lesions[0]?.planes[0]?.short.mm]).toEqual([40, 20])
  const line = linesOf(measured, moved('short', [10, -20, 5], [10, 20, 5])).find(({ key }) => key === '1 axial short')
  expect([line?.moved, line?.ends[0]]).toEqual([true, [10, -20, 5]])
})

it('judges a moved lesion by its limit, and tells an angle that is not right', () => {
  const now = measuredNow(measured, moved('short', [10, -3, 5], [10, 3, 5]))
  expect(now.lesions[0]?.measurable).toBe(false)
  const aslant = measuredNow(measured, moved('short', [10, 0, 5], [20, 10, 5]))
  expect(aslant.lesions[0]?.planes[0]?.degrees).toBeCloseTo(45)
  const point = measuredNow(measured, moved('short', [10, 0, 5], [10, 0, 5]))
  expect(point.lesions[0]?.planes[0]).toMatchObject({ degrees: 0, product_mm2: 0 })
})

it('saves a table with the columns of the server and whether a line was moved', () => {
  const [head, one, two, three] = csvOf(measuredNow(measured, moved('long', [0, 0, 5], [25, 0, 5]))).split('\n')
  expect(head?.split(',')).toHaveLength(17)
  expect(one).toBe('1,2,yes,,yes,axial,2,7,25,,,12,,,300,yes,90')
  expect(two).toBe('2,2,yes,yes,yes,axial,2,7,20,19,21,12,11,13,240,no,90')
  expect(three?.split(',')).toHaveLength(17)
})
