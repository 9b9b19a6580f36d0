import { describe, expect, it } from 'vitest'
import { dragged, levelOf, tidy, widthOf, windowOf } from '../../src/scene/window'

const RANGE = { min: -100, max: 1100 }

describe('window and level', () => {
  it('are the two ways to say one thing', () => {
    const window = windowOf(400, 300, RANGE)
    expect(window).toEqual({ low: 100, high: 500 })
    expect([widthOf(window), levelOf(window)]).toEqual([400, 300])
  })
  it('widen to the right and rise upwards', () => {
    const window = windowOf(400, 300, RANGE)
    expect(widthOf(dragged(window, 30, 0, RANGE))).toBeGreaterThan(400)
    expect(levelOf(dragged(window, 30, 0, RANGE))).toBe(300)
    expect(levelOf(dragged(window, 0, -30, RANGE))).toBeGreaterThan(300)
  })
  it('never turn over or leave the range', () => {
    const window = dragged(windowOf(400, 300, RANGE), -5000, 5000, RANGE)
    expect(window.high).toBeGreaterThan(window.low)
    expect(levelOf(window)).toBe(-100)
  })
  it('live with an image of one value', () => {
    const window = windowOf(0, 5, { min: 5, max: 5 })
    expect(window.high).toBeGreaterThan(window.low)
  })
})

it.each([
  [1234.5, '1235'],
  [0, '0'],
  [12.345, '12.3'],
  [0.012345, '0.0123'],
  [-3.456, '-3.46'],
  [Number.NaN, '–'],
])('prints %f as %s', (value, text) => {
  expect(tidy(value)).toBe(text)
})
