import { describe, expect, it } from 'vitest'
import { agreement } from '../../src/scene/agreement'

const PARTS = [
  { key: 'ET', name: 'Enhancing', labels: [1] },
  { key: 'ED', name: 'Oedema', labels: [4] },
  { key: 'CC', name: 'Cyst', labels: [3] },
  { key: 'WT', name: 'Whole', labels: [1, 2, 3, 4] },
]

describe('agreement', () => {
  it('counts Dice and what only one of two masks has, of labels and regions', () => {
    const first = Uint8Array.of(0, 1, 1, 1, 4, 0, 0)
    const second = Uint8Array.of(0, 1, 1, 4, 4, 4, 0)
    expect(agreement(first, second, PARTS)).toEqual([
      { key: 'ET', name: 'Enhancing', dice: 0.8, onlyFirst: 1, onlySecond: 0 },
      { key: 'ED', name: 'Oedema', dice: 0.5, onlyFirst: 0, onlySecond: 2 },
      { key: 'CC', name: 'Cyst', dice: null, onlyFirst: 0, onlySecond: 0 },
      { key: 'WT', name: 'Whole', dice: 8 / 9, onlyFirst: 0, onlySecond: 1 },
    ])
  })
  it('refuses masks of another size', () => {
    expect(() => agreement(new Uint8Array(2), new Uint8Array(3), PARTS)).toThrow(RangeError)
  })
})
