/**
 * Where things are: file voxels, world millimetres (always RAS+), and the screen. Pure functions, no library.
 *
 * Three orders meet here. A *file* has its voxels in any of 48 orders, possibly oblique. The *scene* has them in the
 * order that is nearest to RAS. The *world* is millimetres, x to the patient's right, y to the front, z to the top.
 */

export type Vec3 = readonly [number, number, number]
/** Three rows of four: voxel centres to world millimetres. */
export type Affine = readonly (readonly [number, number, number, number])[]
export type Plane = 'axial' | 'coronal' | 'sagittal'
export type ArrowKey = 'ArrowLeft' | 'ArrowRight' | 'ArrowUp' | 'ArrowDown' | 'PageUp' | 'PageDown'

export interface Grid {
  /** Voxels along the file's axes. */
  shape: Vec3
  affine: Affine
}

/** How a file's axes lie in the scene: for each scene axis, the file axis (0 to 2) and whether it runs backwards. */
export type AxisOrder = readonly [SceneAxis, SceneAxis, SceneAxis]
export interface SceneAxis {
  fileAxis: number
  flipped: boolean
}

/** Grids are the same when their corners agree within this: below it a header only rounds. */
export const SAME_GRID_MM = 0.01

const AXES = [0, 1, 2] as const
const LETTERS = ['RL', 'AP', 'SI'] as const

const row = (affine: Affine, index: number): readonly [number, number, number, number] =>
  affine[index] ?? [Number.NaN, Number.NaN, Number.NaN, Number.NaN]

/** World millimetres of a (fractional) voxel. */
export function toWorld(affine: Affine, voxel: Vec3): Vec3 {
  const along = (index: number): number => {
    const [a, b, c, d] = row(affine, index)
    return a * voxel[0] + b * voxel[1] + c * voxel[2] + d
  }
  return [along(0), along(1), along(2)]
}

/** World millimetres to (fractional) voxels. Throws for a matrix that cannot be inverted. */
export function inverse(affine: Affine): Affine {
  const [a, b, c, x] = row(affine, 0)
  const [d, e, f, y] = row(affine, 1)
  const [g, h, i, z] = row(affine, 2)
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
  if (!Number.isFinite(determinant) || Math.abs(determinant) < 1e-12)
    throw new RangeError('the affine of this file cannot be inverted')
  const rows: Vec3[] = [
    [(e * i - f * h) / determinant, (c * h - b * i) / determinant, (b * f - c * e) / determinant],
    [(f * g - d * i) / determinant, (a * i - c * g) / determinant, (c * d - a * f) / determinant],
    [(d * h - e * g) / determinant, (b * g - a * h) / determinant, (a * e - b * d) / determinant],
  ]
  return rows.map(([p, q, r]) => [p, q, r, -(p * x + q * y + r * z)] as const)
}

/** The voxel whose centre is nearest to a point in the world, or null outside the grid. */
export function voxelAt(grid: Grid, mm: Vec3): Vec3 | null {
  const [i, j, k] = toWorld(inverse(grid.affine), mm).map(Math.round) as [number, number, number]
  const inside = [i, j, k].every((at, axis) => at >= 0 && at < (grid.shape[axis] ?? 0))
  return inside ? [i, j, k] : null
}

/** Volume of one voxel in millilitres. */
export function voxelMl(affine: Affine): number {
  const [a, b, c] = row(affine, 0)
  const [d, e, f] = row(affine, 1)
  const [g, h, i] = row(affine, 2)
  return Math.abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) / 1000
}

/** Whether two files have the same voxels at the same places, in the same order. */
export function sameGrid(one: Grid, other: Grid): boolean {
  if (AXES.some((axis) => one.shape[axis] !== other.shape[axis])) return false
  for (let corner = 0; corner < 8; corner++) {
    const voxel = AXES.map((axis) => (corner & (1 << axis) ? one.shape[axis] - 1 : 0)) as unknown as Vec3
    const here = toWorld(one.affine, voxel)
    const there = toWorld(other.affine, voxel)
    if (Math.hypot(here[0] - there[0], here[1] - there[1], here[2] - there[2]) > SAME_GRID_MM) return false
  }
  return true
}

/** Millimetres from slice to slice along the scene's axes. */
export function sceneSpacing({ affine }: Grid, order: AxisOrder): Vec3 {
  const along = ({ fileAxis }: SceneAxis): number => Math.hypot(...affine.map((of) => of[fileAxis as 0 | 1 | 2]))
  return [along(order[0]), along(order[1]), along(order[2])]
}

/** Index of file voxel (i, j, k) in the scene is `start + i * steps[0] + j * steps[1] + k * steps[2]`. */
function strides(shape: Vec3, order: AxisOrder): { start: number; steps: [number, number, number] } {
  const steps: [number, number, number] = [0, 0, 0]
  let start = 0
  let stride = 1
  for (const { fileAxis, flipped } of order) {
    const length = shape[fileAxis as 0 | 1 | 2]
    steps[fileAxis as 0 | 1 | 2] = flipped ? -stride : stride
    if (flipped) start += (length - 1) * stride
    stride *= length
  }
  return { start, steps }
}

function reorder(from: Uint8Array, shape: Vec3, order: AxisOrder, toScene: boolean): Uint8Array {
  const { start, steps } = strides(shape, order)
  if (from.length !== shape[0] * shape[1] * shape[2]) throw new RangeError('the mask has not the voxels of its grid')
  const into = new Uint8Array(from.length)
  let file = 0
  for (let k = 0; k < shape[2]; k++)
    for (let j = 0; j < shape[1]; j++) {
      let scene = start + k * steps[2] + j * steps[1]
      for (let i = 0; i < shape[0]; i++, file++, scene += steps[0]) {
        if (toScene) into[scene] = from[file] as number
        else into[file] = from[scene] as number
      }
    }
  return into
}

/** A mask from file order into scene order; `shape` is the file's. */
export const toSceneOrder = (labels: Uint8Array, shape: Vec3, order: AxisOrder): Uint8Array =>
  reorder(labels, shape, order, true)
/** A mask from scene order back into file order; `shape` is the file's. */
export const toFileOrder = (labels: Uint8Array, shape: Vec3, order: AxisOrder): Uint8Array =>
  reorder(labels, shape, order, false)

/** The scene's shape: the file's, in the scene's order of axes. */
export const sceneShape = (shape: Vec3, order: AxisOrder): Vec3 =>
  order.map(({ fileAxis }) => shape[fileAxis as 0 | 1 | 2]) as unknown as Vec3

/** The scene voxel, with fractions, of a place in the world. */
export function sceneVoxelOf({ shape, affine }: Grid, order: AxisOrder, mm: Vec3): Vec3 {
  const file = toWorld(inverse(affine), mm)
  return order.map(({ fileAxis, flipped }) => {
    const at = file[fileAxis as 0 | 1 | 2]
    return flipped ? shape[fileAxis as 0 | 1 | 2] - 1 - at : at
  }) as unknown as Vec3
}

/** The place in the world of a scene voxel, which may have fractions. */
export function worldOfScene({ shape, affine }: Grid, order: AxisOrder, voxel: Vec3): Vec3 {
  const file: [number, number, number] = [0, 0, 0]
  order.forEach(({ fileAxis, flipped }, axis) => {
    const at = voxel[axis as 0 | 1 | 2]
    file[fileAxis as 0 | 1 | 2] = flipped ? shape[fileAxis as 0 | 1 | 2] - 1 - at : at
  })
  return toWorld(affine, file)
}

/** What the letters on a picture's sides are. In radiological pictures the patient's right is on the left. */
export function sides(
  plane: Plane,
  radiological: boolean,
): { left: string; right: string; top: string; bottom: string } {
  const leftRight = radiological ? { left: 'R', right: 'L' } : { left: 'L', right: 'R' }
  if (plane === 'axial') return { ...leftRight, top: 'A', bottom: 'P' }
  if (plane === 'coronal') return { ...leftRight, top: 'S', bottom: 'I' }
  return { left: 'A', right: 'P', top: 'S', bottom: 'I' }
}

/** The letters for which a point moves when its x, y or z grows. */
const UP: Record<string, Vec3> = {
  R: [1, 0, 0],
  L: [-1, 0, 0],
  A: [0, 1, 0],
  P: [0, -1, 0],
  S: [0, 0, 1],
  I: [0, 0, -1],
}
const THROUGH: Record<Plane, Vec3> = { axial: [0, 0, 1], coronal: [0, 1, 0], sagittal: [1, 0, 0] }

/** The scene axis that a plane's slices follow one another along. */
export const AXIS_OF: Record<Plane, 0 | 1 | 2> = { sagittal: 0, coronal: 1, axial: 2 }

/** Where an arrow or page key moves the crosshair, in scene voxels: as seen on the screen. */
export function stepOf(key: ArrowKey, plane: Plane, radiological: boolean): Vec3 {
  const way = THROUGH[plane]
  if (key === 'PageUp') return way
  if (key === 'PageDown') return [0 - way[0], 0 - way[1], 0 - way[2]]
  const shown = sides(plane, radiological)
  const side = { ArrowLeft: shown.left, ArrowRight: shown.right, ArrowUp: shown.top, ArrowDown: shown.bottom }[key]
  return UP[side] ?? [0, 0, 0]
}

/** Nearest letters of a file's axes, such as LPS: where each axis points to. */
export function orientation(affine: Affine): string {
  const left = new Set<number>(AXES)
  const letters: string[] = []
  for (const axis of AXES) {
    let best = -1
    for (const world of left)
      if (best < 0 || Math.abs(row(affine, world)[axis]) > Math.abs(row(affine, best)[axis])) best = world
    left.delete(best)
    letters.push(LETTERS[best as 0 | 1 | 2]?.charAt(row(affine, best)[axis] > 0 ? 0 : 1) ?? '?')
  }
  return letters.join('')
}

/** How many voxels every label has; the index is the label. */
export function countLabels(labels: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256)
  for (const label of labels) counts[label] = (counts[label] as number) + 1
  return counts
}

/**
 * The scene voxel to look at for a label: in the axial slice with most of it, its voxel nearest to the middle.
 * A label that forms a ring has no voxel in the middle; the crosshair should lie on the label all the same.
 */
export function middleOf(labels: Uint8Array, shape: Vec3, label: number): Vec3 | null {
  const [width, height, depth] = shape
  const area = width * height
  let slice = -1
  let most = 0
  for (let z = 0; z < depth; z++) {
    let count = 0
    for (let at = z * area; at < (z + 1) * area; at++) if (labels[at] === label) count++
    if (count > most) {
      most = count
      slice = z
    }
  }
  if (slice < 0) return null
  let sumX = 0
  let sumY = 0
  const members: [number, number][] = []
  for (let at = 0; at < area; at++)
    if (labels[slice * area + at] === label) {
      const [x, y] = [at % width, Math.floor(at / width)]
      members.push([x, y])
      sumX += x
      sumY += y
    }
  const [middleX, middleY] = [sumX / most, sumY / most]
  let best: Vec3 | null = null
  let nearest = Number.POSITIVE_INFINITY
  for (const [x, y] of members) {
    const distance = (x - middleX) ** 2 + (y - middleY) ** 2
    if (distance < nearest) {
      nearest = distance
      best = [x, y, slice]
    }
  }
  return best
}

/** Six times the signed volume of a closed surface: negative when its faces look inwards. */
export function signedVolume(points: ArrayLike<number>, triangles: ArrayLike<number>): number {
  const at = (vertex: number, axis: number): number => points[3 * vertex + axis] ?? 0
  let sum = 0
  for (let face = 0; face + 2 < triangles.length; face += 3) {
    const [a, b, c] = [triangles[face] ?? 0, triangles[face + 1] ?? 0, triangles[face + 2] ?? 0]
    sum +=
      at(a, 0) * (at(b, 1) * at(c, 2) - at(b, 2) * at(c, 1)) -
      at(a, 1) * (at(b, 0) * at(c, 2) - at(b, 2) * at(c, 0)) +
      at(a, 2) * (at(b, 0) * at(c, 1) - at(b, 1) * at(c, 0))
  }
  return sum
}
