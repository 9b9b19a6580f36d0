import { describe, expect, it } from 'vitest'
import { type Bitmap, between, limitStroke, partAt, relabelled } from '../../src/scene/tools'

const SHAPE = [12, 10, 9] as const

function bitmap(value: (x: number, y: number, z: number) => number): Bitmap {
  const labels = new Uint8Array(SHAPE[0] * SHAPE[1] * SHAPE[2])
  for (let z = 0; z < SHAPE[2]; z++)
    for (let y = 0; y < SHAPE[1]; y++)
      for (let x = 0; x < SHAPE[0]; x++) labels[x + SHAPE[0] * (y + SHAPE[1] * z)] = value(x, y, z)
  return { labels, shape: SHAPE }
}
const get = (labels: Uint8Array, x: number, y: number, z: number) => labels[x + SHAPE[0] * (y + SHAPE[1] * z)]

describe('one part of the mask', () => {
  const two = bitmap((x, y, z) =>
    x < 2 && y < 2 && z < 2 ? 1 : x === 2 && y === 2 && z === 2 ? 1 : x > 9 && z === 8 ? 1 : x === 5 ? 2 : 0,
  )

  it('hangs together by corners, has one label, and leaves other parts alone', () => {
    expect(partAt(two, [0, 0, 0])).toHaveLength(9)
    expect(partAt(two, [11, 0, 8])).toHaveLength(20)
    expect(partAt(two, [5, 0, 0])).toHaveLength(90)
    expect(partAt(two, [3, 0, 0])).toEqual([])
  })
  it('takes another label or none, and the labels before stay as they were', () => {
    const changed = relabelled(two, partAt(two, [0, 0, 0]), 4)
    expect([get(changed, 0, 0, 0), get(changed, 11, 0, 8), get(two.labels, 0, 0, 0)]).toEqual([4, 1, 1])
    expect(relabelled(two, partAt(two, [0, 0, 0]), 0).filter((value) => value === 1)).toHaveLength(20)
  })
})

describe('between two painted slices', () => {
  it.each([0, 1, 2] as const)('along axis %i, shapes go over into one another', (axis) => {
    const painted = bitmap((...voxel) => {
      const [i, j] = voxel.filter((_, other) => other !== axis) as [number, number]
      const slice = voxel[axis] as number
      return (slice === 1 && i >= 2 && i <= 3 && j >= 2 && j <= 7) ||
        (slice === 5 && i >= 2 && i <= 7 && j >= 2 && j <= 7)
        ? 3
        : 0
    })
    const made = between(painted, axis, 3, 3)
    if (typeof made === 'string') throw new Error(made)
    const count = (slice: number) => {
      let sum = 0
      for (let z = 0; z < SHAPE[2]; z++)
        for (let y = 0; y < SHAPE[1]; y++)
          for (let x = 0; x < SHAPE[0]; x++) if ([x, y, z][axis] === slice && get(made.labels, x, y, z) === 3) sum++
      return sum
    }
    expect([made.from, made.to]).toEqual([1, 5])
    const sizes = [1, 2, 3, 4, 5].map(count)
    expect(sizes[0]).toBe(12)
    expect(sizes[4]).toBe(36)
    expect([...sizes].sort((one, other) => one - other)).toEqual(sizes)
    expect(sizes[2]).toBeGreaterThan(14)
    expect(sizes[2]).toBeLessThan(34)
    expect([0, 6, 7].map(count)).toEqual([0, 0, 0])
    expect(made.added).toBe((sizes[1] ?? 0) + (sizes[2] ?? 0) + (sizes[3] ?? 0))
  })
  it('changes background only', () => {
    const painted = bitmap((x, y, z) =>
      x > 2 && x < 8 && y > 2 && y < 8 && (z === 1 || z === 3) ? 1 : x === 4 && y === 4 && z === 2 ? 2 : 0,
    )
    const made = between(painted, 2, 2, 1)
    if (typeof made === 'string') throw new Error(made)
    expect([get(made.labels, 4, 4, 2), get(made.labels, 5, 5, 2), made.added]).toEqual([2, 1, 24])
  })
  it('says what is missing', () => {
    const one = bitmap((x, _y, z) => (x === 1 && z === 1 ? 1 : 0))
    expect(between(one, 2, 3, 1)).toMatch(/no two painted slices/)
    expect(between(one, 2, 1, 1)).toMatch(/has the label already/)
  })
})

describe('limitStroke', () => {
  it('keeps of a stroke what it may change, painted or erased', () => {
    const before = Uint8Array.of(0, 0, 1, 1, 0, 2)
    const after = Uint8Array.of(1, 1, 0, 0, 0, 2)
    const intensity = [5, 50, 5, 50, 50, 5]
    expect(limitStroke(before, after, (index) => (intensity[index] ?? 0) >= 40)).toBe(2)
    expect([...after]).toEqual([0, 1, 1, 0, 0, 2])
  })
})
