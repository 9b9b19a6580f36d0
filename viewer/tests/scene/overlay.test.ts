import { describe, expect, it } from 'vitest'
import type { CaseOut, Vocabulary } from '../../src/api/types'
import { sceneSpacing } from '../../src/scene/geometry'
import { barMm, cellsOf, sequenceText, sliceText } from '../../src/scene/overlay'
import { volumesShown } from '../../src/scene/panel'
import { SceneState } from '../../src/scene/state'
import { firstHigh, percentile } from '../../src/scene/window'

const choice = (key: string, mark: '' | 'synthetic' = '') => ({
  key,
  title: key.toUpperCase(),
  file: 'x',
  matchedFile: null,
  mark,
})

describe('what stands over the pictures', () => {
  it('is a bar of a round length that takes a third at most', () => {
    expect(barMm(2, 400)).toBe(50)
    expect(barMm(2, 300)).toBe(50)
    expect(barMm(2, 299)).toBe(20)
    expect(barMm(20, 400)).toBe(5)
    expect(barMm(2, 1)).toBe(0)
  })
  it('says plane, slice and thickness', () => {
    expect(sliceText('axial', [1, 2, 3], [10, 20, 30], [1, 2, 5.5])).toBe('Axial 4/30, 5.5 mm')
    expect(sliceText('coronal', [1, 2, 3], [10, 20, 30], [1, 0.4687, 5.5])).toBe('Coronal 3/20, 0.47 mm')
    expect(sliceText('sagittal', [1, 2, 3], [10, 20, 30], [0.9, 2, 5.5])).toBe('Sagittal 2/10, 0.9 mm')
  })
  it('says of a sequence that is not the reference that it was resampled', () => {
    const title = (key: string) => `title of ${key}`
    expect(sequenceText(choice('t1c'), 't1c', title)).toBe('T1C')
    expect(sequenceText(choice('t2f', 'synthetic'), 't1c', title)).toBe('T2F (synthetic), resampled to title of t1c')
    expect(sequenceText(choice('t2f'), null, title)).toBe('T2F')
    expect(sequenceText(undefined, 't1c', title)).toBe('')
  })
  it('has a quarter of the canvas for each plane, or all of it', () => {
    expect(cellsOf(false, 200, 100)('coronal')).toEqual([100, 0, 100, 50])
    expect(cellsOf(false, 200, 100)('sagittal')).toEqual([0, 50, 100, 50])
    expect(cellsOf(true, 200, 100)('coronal')).toEqual([0, 0, 200, 100])
  })
})

it('knows the spacing of turned and flipped files', () => {
  const affine = [
    [0, 0, -2, 0],
    [0.6, 0, 0, 0],
    [0.8, 3, 0, 0],
  ].map((row) => row as unknown as readonly [number, number, number, number])
  const axis = (fileAxis: number) => ({ fileAxis, flipped: fileAxis === 2 })
  expect(sceneSpacing({ shape: [1, 1, 1], affine }, [axis(2), axis(0), axis(1)])).toEqual([2, 1, 3])
})

describe('the first window', () => {
  it('of FLAIR reaches to the 99.5th percentile of what is not background, as the file scales it', () => {
    const values = new Int16Array(2000)
    for (let at = 1000; at < 2000; at++) values[at] = at - 999
    expect(percentile(values, 0.995)).toBe(996)
    expect(firstHigh('t2f', 600, () => values, {})).toBe(996)
    expect(firstHigh('t2f-harmonized', 600, () => values, { scl_slope: 2, scl_inter: 10 })).toBe(2002)
  })
  it('of others is the usual one, and so is that of an empty FLAIR', () => {
    const never = (): never => {
      throw new Error('not looked at')
    }
    expect(firstHigh('t1c', 600, never, {})).toBe(600)
    expect(firstHigh('t2f', 600, () => new Int16Array(50), {})).toBe(600)
  })
})

it('tells the volumes of the result before the versions of its mask are known', () => {
  const state = new SceneState()
  const vocabulary = { labels: [], regions: [] } as unknown as Vocabulary
  const result = { version: 0, volumes_ml: { WT: { ml: 44 } } } as unknown as CaseOut
  expect(volumesShown(state, vocabulary, result, 0).volumes).toEqual({ WT: { ml: 44 } })
  state.version.value = 1
  expect(volumesShown(state, vocabulary, result, 0).volumes).toEqual({})
})
