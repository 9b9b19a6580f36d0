import { describe, expect, it } from 'vitest'
import {
  type Affine,
  type AxisOrder,
  countLabels,
  inverse,
  middleOf,
  orientation,
  sameGrid,
  sceneShape,
  sides,
  signedVolume,
  stepOf,
  toFileOrder,
  toSceneOrder,
  toWorld,
  type Vec3,
  voxelAt,
  voxelMl,
} from '../../src/scene/geometry'

const RAS: Affine = [
  [1, 0, 0, -10],
  [0, 1.5, 0, -20],
  [0, 0, 2, -30],
]
const LPS: Affine = [
  [-1, 0, 0, 10],
  [0, -1.5, 0, 20],
  [0, 0, 2, -30],
]
/** First axis to the front, second to the top, third to the left; turned a little. */
const OBLIQUE_ASL: Affine = [
  [0.12, 0.05, -1.9, 40],
  [0.98, -0.2, 0.15, -50],
  [0.2, 1.1, 0.1, -35],
]
const ALL: [string, Affine][] = [
  ['RAS', RAS],
  ['LPS', LPS],
  ['ASL', OBLIQUE_ASL],
]

describe('world and voxels', () => {
  it.each(ALL)('%s: a voxel goes to the world and back', (_name, affine) => {
    const grid = { shape: [20, 20, 20] as Vec3, affine }
    for (const voxel of [
      [0, 0, 0],
      [19, 3, 7],
      [5, 18, 11],
    ] as Vec3[]) {
      const mm = toWorld(affine, voxel)
      const back = toWorld(inverse(affine), mm)
      for (const axis of [0, 1, 2] as const) expect(back[axis]).toBeCloseTo(voxel[axis], 9)
      expect(voxelAt(grid, mm)).toEqual(voxel)
    }
  })
  it('puts a voxel where the affine says', () => {
    expect(toWorld(LPS, [1, 2, 3])).toEqual([9, 17, -24])
  })
  it('finds no voxel outside the grid', () => {
    const grid = { shape: [4, 4, 4] as Vec3, affine: RAS }
    expect(voxelAt(grid, toWorld(RAS, [3.4, 0, 0]))).toEqual([3, 0, 0])
    expect(voxelAt(grid, toWorld(RAS, [3.6, 0, 0]))).toBeNull()
  })
  it('refuses an affine without volume', () => {
    expect(() => inverse([RAS[0], RAS[0], RAS[2]] as Affine)).toThrow(/inverted/)
  })
  it.each(ALL)('%s: names the axes', (name, affine) => {
    expect(orientation(affine)).toBe(name)
  })
  it('measures a voxel, whatever its handedness', () => {
    expect(voxelMl(RAS)).toBeCloseTo(0.003, 12)
    expect(voxelMl(LPS)).toBeCloseTo(0.003, 12)
  })
})

describe('sameGrid', () => {
  const grid = { shape: [200, 200, 20] as Vec3, affine: RAS }
  it('lets a header round', () => {
    const rounded = RAS.map(([a, b, c, d]) => [a + 1e-7, b, c, d + 1e-6] as const)
    expect(sameGrid(grid, { ...grid, affine: rounded })).toBe(true)
  })
  it('sees another shape, a shift, and a small turn that only the far corner shows', () => {
    expect(sameGrid(grid, { ...grid, shape: [200, 200, 21] })).toBe(false)
    expect(sameGrid(grid, { ...grid, affine: RAS.map(([a, b, c, d]) => [a, b, c, d + 0.02] as const) })).toBe(false)
    const turned = [[1, 0.0002, 0, -10], RAS[1], RAS[2]] as Affine
    expect(sameGrid(grid, { ...grid, affine: turned })).toBe(false)
  })
  it('sees mirrored files', () => {
    expect(sameGrid(grid, { ...grid, affine: LPS })).toBe(false)
  })
})

describe('file order and scene order', () => {
  const shape: Vec3 = [2, 3, 4]
  const labels = Uint8Array.from({ length: 24 }, (_value, index) => index)
  /** Scene x is file axis 2 backwards, y is file axis 0, z is file axis 1. */
  const order: AxisOrder = [
    { fileAxis: 2, flipped: true },
    { fileAxis: 0, flipped: false },
    { fileAxis: 1, flipped: false },
  ]
  it('puts every voxel where it belongs', () => {
    const [width, height] = sceneShape(shape, order)
    expect(sceneShape(shape, order)).toEqual([4, 2, 3])
    const scene = toSceneOrder(labels, shape, order)
    for (let k = 0; k < 4; k++)
      for (let j = 0; j < 3; j++)
        for (let i = 0; i < 2; i++) expect(scene[3 - k + width * (i + height * j)]).toBe(labels[i + 2 * (j + 3 * k)])
  })
  it('comes back as it was', () => {
    expect(toFileOrder(toSceneOrder(labels, shape, order), shape, order)).toEqual(labels)
  })
  it('refuses a mask of another size', () => {
    expect(() => toSceneOrder(labels.subarray(1), shape, order)).toThrow(/voxels/)
  })
})

describe('sides and steps', () => {
  it('has the patient’s right on the left, unless asked otherwise', () => {
    expect(sides('axial', true)).toEqual({ left: 'R', right: 'L', top: 'A', bottom: 'P' })
    expect(sides('axial', false)).toEqual({ left: 'L', right: 'R', top: 'A', bottom: 'P' })
    expect(sides('coronal', true)).toEqual({ left: 'R', right: 'L', top: 'S', bottom: 'I' })
  })
  it('does not turn the sagittal picture with left and right', () => {
    expect(sides('sagittal', true)).toEqual(sides('sagittal', false))
  })
  it('moves as seen on the screen', () => {
    expect(stepOf('ArrowLeft', 'axial', true)).toEqual([1, 0, 0])
    expect(stepOf('ArrowLeft', 'axial', false)).toEqual([-1, 0, 0])
    expect(stepOf('ArrowUp', 'axial', true)).toEqual([0, 1, 0])
    expect(stepOf('ArrowUp', 'coronal', true)).toEqual([0, 0, 1])
    expect(stepOf('ArrowRight', 'sagittal', true)).toEqual([0, -1, 0])
    expect(stepOf('PageUp', 'coronal', true)).toEqual([0, 1, 0])
    expect(stepOf('PageDown', 'axial', true)).toEqual([0, 0, -1])
  })
})

describe('labels', () => {
  it('counts', () => {
    const counts = countLabels(Uint8Array.from([0, 2, 2, 4, 2]))
    expect([counts[0], counts[1], counts[2], counts[4]]).toEqual([1, 0, 3, 1])
  })
  it('goes to the slice with most of a label, onto the label', () => {
    const shape: Vec3 = [5, 5, 3]
    const labels = new Uint8Array(75)
    labels[0] = 1 // one voxel in slice 0
    // a ring in slice 2: its middle (2, 2) is not in it
    for (let y = 0; y < 5; y++)
      for (let x = 0; x < 5; x++) if (Math.max(Math.abs(x - 2), Math.abs(y - 2)) === 2) labels[50 + y * 5 + x] = 1
    const found = middleOf(labels, shape, 1)
    expect(found?.[2]).toBe(2)
    expect(labels[50 + (found?.[1] ?? 0) * 5 + (found?.[0] ?? 0)]).toBe(1)
    expect(middleOf(labels, shape, 3)).toBeNull()
  })
})

it('tells an inside-out surface', () => {
  const points = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]
  const outward = [0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3]
  expect(signedVolume(points, outward)).toBeCloseTo(1, 9)
  expect(signedVolume(points, [...outward].reverse())).toBeCloseTo(-1, 9)
})
