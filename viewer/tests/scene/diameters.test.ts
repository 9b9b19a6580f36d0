import { describe, expect, it } from 'vitest'
import type { DiameterLine } from '../../src/app/diameterlines'
import { linesOn, movedTo, nudged, spotOf } from '../../src/scene/diameters'
import { type AxisOrder, type Grid, sceneVoxelOf, type Vec3, worldOfScene } from '../../src/scene/geometry'

const axis = (fileAxis: number, flipped = false) => ({ fileAxis, flipped })
const GRID: Grid = {
  shape: [20, 24, 10],
  affine: [
    [0, -1.5, 0, 30],
    [0, 0, 2, -9],
    [-1, 0, 0.2, 12],
  ],
}
const ORDERS: AxisOrder[] = [
  [axis(0), axis(1), axis(2)],
  [axis(1, true), axis(2), axis(0, true)],
]

describe('voxels of the scene and the world', () => {
  it.each(ORDERS)('lead to one another', (...order) => {
    const voxel: Vec3 = [3.25, 4, 7.5]
    const back = sceneVoxelOf(
      GRID,
      order as unknown as AxisOrder,
      worldOfScene(GRID, order as unknown as AxisOrder, voxel),
    )
    for (const at of [0, 1, 2] as const) expect(back[at]).toBeCloseTo(voxel[at], 9)
  })
})

const ORDER: AxisOrder = [axis(1, true), axis(2), axis(0, true)]
const lie = { grid: GRID, order: ORDER }
const tile = {
  ...{ plane: 'axial' as const, box: [0, 0, 240, 100] as const, cross: [0, 0] as const, pixelsPerMm: 5 },
  // Seen radiologically: x runs to the left; y runs up.
  voxels: { start: [235, 95] as const, step: [-7.5, -10] as const, sizes: [24, 10] as const },
}
const world = (voxel: Vec3) => [...worldOfScene(GRID, ORDER, voxel)] as [number, number, number]
const line = (from: Vec3, to: Vec3): DiameterLine => ({
  ...{ key: '1 axial long', lesion: 1, plane: 'axial', kind: 'long', moved: false },
  ends: [world(from), world(to)],
})
const shown = (one: DiameterLine, cursor: Vec3) =>
  linesOn({ lines: [one], words: () => '', move: () => {} }, [tile], lie, cursor)

describe('lines over a slice', () => {
  it('lie where their voxels are, on their own slice only', () => {
    const [on] = shown(line([2, 3, 4], [6, 5, 4]), [0, 0, 4])
    expect(on?.spots[0]).toEqual(spotOf(tile, [2, 3, 4]))
    expect(on?.spots[1][0]).toBeCloseTo(235 - 45)
    expect(on?.spots[1][1]).toBeCloseTo(95 - 50)
    expect(shown(line([2, 3, 4], [6, 5, 4]), [0, 0, 5])).toEqual([])
  })
  it('go where the hand goes, in their slice and not out of the picture', () => {
    const [on] = shown(line([2, 3, 4], [6, 5, 4]), [0, 0, 4])
    if (!on) throw new Error('no line')
    const voxel = sceneVoxelOf(GRID, ORDER, movedTo(on, 1, [235 - 75, 95 - 20], lie))
    for (const [at, wanted] of [10, 2, 4].entries()) expect(voxel[at as 0 | 1 | 2]).toBeCloseTo(wanted, 9)
    const outside = sceneVoxelOf(GRID, ORDER, movedTo(on, 0, [-900, 900], lie))
    for (const [at, wanted] of [23, 0, 4].entries()) expect(outside[at as 0 | 1 | 2]).toBeCloseTo(wanted, 9)
  })
  it('go by half a millimetre with an arrow key, by five with Shift, as seen on screen', () => {
    const [on] = shown(line([2, 3, 4], [6, 5, 4]), [0, 0, 4])
    if (!on) throw new Error('no line')
    const [x, y] = on.spots[0]
    expect(nudged(on, 0, 'ArrowRight', false)).toEqual([x + 2.5, y])
    expect(nudged(on, 0, 'ArrowUp', true)).toEqual([x, y - 25])
    expect(nudged(on, 0, 'Enter', false)).toBeNull()
  })
})
