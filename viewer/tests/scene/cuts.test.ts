import { describe, expect, it } from 'vitest'
import {
  edgesOf,
  greyOf,
  intensities,
  mark,
  outline,
  pixelOf,
  sizeOf,
  voxelUnder,
  type Where,
} from '../../src/scene/cuts'
import type { AxisOrder, Plane, Vec3 } from '../../src/scene/geometry'
import { toSceneOrder } from '../../src/scene/geometry'

const SHAPE: Vec3 = [3, 4, 5]
const PLANES: readonly Plane[] = ['axial', 'coronal', 'sagittal']
const axis = (fileAxis: number, flipped = false) => ({ fileAxis, flipped })
const ORDERS: AxisOrder[] = [
  [axis(0), axis(1), axis(2)],
  [axis(0, true), axis(1), axis(2, true)],
  [axis(2), axis(0, true), axis(1)],
]
/** Every voxel of the file is another number, also in the scene's order. */
const values = Uint8Array.from({ length: 60 }, (_, at) => at)
const where = (plane: Plane, slice: number, radiological = true): Where => ({ plane, slice, radiological })

describe('a slice', () => {
  it('shows for every order of the file what lies there in the scene', () => {
    for (const order of ORDERS) {
      const scene = toSceneOrder(values, SHAPE, order)
      const shape = order.map(({ fileAxis }) => SHAPE[fileAxis as 0 | 1 | 2]) as unknown as Vec3
      const stack = { values, slope: 1, inter: 0, window: { low: 0, high: 255 } }
      for (const plane of PLANES)
        for (const radiological of [true, false]) {
          const place = where(plane, 1, radiological)
          const [width, height] = sizeOf(plane, shape)
          const pixels = greyOf(stack, SHAPE, order, place)
          for (let row = 0; row < height; row++)
            for (let column = 0; column < width; column++) {
              const [x, y, z] = voxelUnder(place, shape, column, row)
              expect(pixels[4 * (row * width + column)]).toBe(scene[x + shape[0] * (y + shape[1] * z)])
              expect(pixelOf(place, shape, [x, y, z])).toEqual([column, row])
            }
        }
    }
  })
  it('has the patient’s right on the left, or on the right, and the front on the left from the side', () => {
    expect(voxelUnder(where('axial', 2), SHAPE, 0, 0)).toEqual([2, 3, 2])
    expect(voxelUnder(where('axial', 2, false), SHAPE, 0, 0)).toEqual([0, 3, 2])
    expect(voxelUnder(where('coronal', 1), SHAPE, 0, 4)).toEqual([2, 1, 0])
    expect(voxelUnder(where('sagittal', 1, false), SHAPE, 0, 0)).toEqual([1, 3, 4])
  })
  it('has the intensity of each voxel by its index in the scene', () => {
    for (const order of ORDERS) {
      const intensity = intensities({ values, slope: 2, inter: 1, window: { low: 0, high: 1 } }, SHAPE, order)
      const scene = toSceneOrder(values, SHAPE, order)
      for (const [index, value] of scene.entries()) expect(intensity(index)).toBe(2 * value + 1)
    }
  })
  it('is black below the window and white above it, in intensities and not in stored values', () => {
    const stack = { values: [0, 10, 20], slope: 2, inter: 10, window: { low: 20, high: 40 } }
    const pixels = greyOf(stack, [3, 1, 1], [axis(0), axis(1), axis(2)], where('axial', 0, false))
    expect([pixels[0], pixels[4], pixels[8]]).toEqual([0, 128, 255])
  })
})

describe('mark', () => {
  const labels = [
    { value: 1, name: 'one', rgb: [200, 0, 0] as [number, number, number] },
    { value: 2, name: 'two', rgb: [0, 0, 200] as [number, number, number] },
  ]
  const scene: Vec3 = [5, 5, 1]
  const drawn = new Uint8Array(25)
  for (const at of [6, 7, 8, 11, 12, 13, 16, 17, 18]) drawn[at] = 1
  drawn[24] = 2
  const marked = (style: 'both' | 'fill' | 'outline', hidden = 0) => {
    const pixels = new Uint8ClampedArray(100)
    const marking = { labels, isSeen: (label: number) => label !== hidden, style, opacity: 0.5 }
    mark(pixels, drawn, scene, where('axial', 0, false), marking)
    return pixels
  }
  const middle = 4 * 12
  const edge = 4 * 11
  it('draws outline, fill or both in the colour of the label', () => {
    const opacities = (pixels: Uint8ClampedArray) => [pixels[edge + 3], pixels[middle + 3]]
    expect(opacities(marked('both'))).toEqual([255, 128])
    expect(opacities(marked('fill'))).toEqual([128, 128])
    expect(opacities(marked('outline'))).toEqual([255, 0])
    expect([...marked('both').slice(edge, edge + 3)]).toEqual([200, 0, 0])
  })
  it('draws the outline of another mask as white dashes', () => {
    const pixels = new Uint8ClampedArray(100)
    outline(pixels, drawn, scene, where('axial', 0, false))
    const ring = [6, 7, 8, 11, 13, 16, 17, 18].map((at) => pixels[4 * at + 3])
    expect(new Set(ring)).toEqual(new Set([0, 255]))
    expect([pixels[middle + 3], Math.max(...pixels.filter((_, at) => at % 4 === 0))]).toEqual([0, 255])
  })
  it('has thin lines around its parts, in their colours, where pixels are large', () => {
    const isSeen = (label: number) => label === 1
    const [edges, ...others] = edgesOf(drawn, scene, where('axial', 0, false), { labels, isSeen })
    expect(others).toEqual([])
    expect([edges?.rgb, edges?.dashed, edges?.sides.length]).toEqual([[200, 0, 0], false, 3 * 12])
    // The first pixel of the block, x 1 and y 3 of 5 rows: nothing lies to its left and above it.
    expect(edges?.sides.slice(0, 6)).toEqual([1, 1, 0, 1, 1, 2])
    const all = edgesOf(drawn, scene, where('axial', 0, false))
    expect(all.map(({ dashed, sides }) => [dashed, sides.length])).toEqual([[true, 3 * 16]])
  })
  it('leaves out what is hidden, and does not go round the edge of the slice', () => {
    expect(marked('both', 1)[middle + 3]).toBe(0)
    const corner = 4 * 4 // x 4, y 4: the right column of the top row
    expect(marked('both')[corner + 2]).toBe(200)
    expect(marked('both')[corner + 4]).toBe(0)
  })
})
