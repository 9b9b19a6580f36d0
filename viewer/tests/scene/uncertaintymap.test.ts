import { describe, expect, it } from 'vitest'
import { coloursOf, sizeOf, voxelUnder } from '../../src/scene/cuts'
import { type AxisOrder, toSceneOrder, type Vec3 } from '../../src/scene/geometry'
import { colourOf, FULL_AT, SEEN_FROM, STOPS } from '../../src/scene/uncertaintymap'

describe('the colours of uncertainty', () => {
  it('begin where something is to be said, and end at the last stop', () => {
    expect(colourOf(SEEN_FROM - 0.01)).toEqual([0, 0, 0, 0])
    expect(colourOf(Number.NaN)[3]).toBe(0)
    expect(colourOf(SEEN_FROM)[3]).toBeGreaterThan(60)
    expect(colourOf(FULL_AT)).toEqual(STOPS.at(-1))
    expect(colourOf(1)).toEqual(STOPS.at(-1))
    expect(colourOf(FULL_AT / 2)).toEqual(STOPS[2])
  })
  it('become lighter with every step, so that they can be told apart without hue', () => {
    const lightness = STOPS.map(([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue)
    for (const [at, value] of lightness.entries()) if (at) expect(value).toBeGreaterThan((lightness[at - 1] ?? 0) + 20)
  })
})

it('shows a map for every order of the file where it lies in the scene', () => {
  const shape: Vec3 = [3, 4, 5]
  const values = Uint8Array.from({ length: 60 }, (_, at) => at)
  const axis = (fileAxis: number, flipped = false) => ({ fileAxis, flipped })
  const orders: AxisOrder[] = [
    [axis(0), axis(1), axis(2)],
    [axis(2), axis(0, true), axis(1)],
  ]
  for (const order of orders) {
    const scene = toSceneOrder(values, shape, order)
    const seen = order.map(({ fileAxis }) => shape[fileAxis as 0 | 1 | 2]) as unknown as Vec3
    const place = { plane: 'coronal', slice: 1, radiological: true } as const
    const [width, height] = sizeOf(place.plane, seen)
    const stack = { values, slope: 2, inter: 0, window: { low: 0, high: 1 } }
    const pixels = coloursOf(stack, shape, order, place, (value) => [value, 0, 0, 255])
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) {
        const [x, y, z] = voxelUnder(place, seen, column, row)
        const stored = scene[x + seen[0] * (y + seen[1] * z)] ?? 0
        expect(pixels[4 * (row * width + column)]).toBe(2 * stored)
        expect(pixels[4 * (row * width + column) + 3]).toBe(stored ? 255 : 0)
      }
  }
})
