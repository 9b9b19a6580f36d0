/** Changes of a whole part of the mask at once: one connected part, or the slices between two painted ones. Pure. */
import type { Vec3 } from './geometry'

/** Labels in the scene's order, x fastest. */
export interface Bitmap {
  labels: Uint8Array
  shape: Vec3
}

const at = ([width, height]: Vec3, [x, y, z]: Vec3): number => x + width * (y + height * z)

/** Indices of all voxels of one label that hang together with a voxel, corners counted; none where nothing is labelled. */
export function partAt({ labels, shape }: Bitmap, voxel: Vec3): number[] {
  const [width, height, depth] = shape
  const start = at(shape, voxel)
  const label = labels[start]
  if (!label) return []
  const seen = new Set([start])
  const found = [start]
  for (let next = 0; next < found.length; next++) {
    const index = found[next] as number
    const [x, y, z] = [index % width, Math.floor(index / width) % height, Math.floor(index / (width * height))]
    for (let k = Math.max(0, z - 1); k <= Math.min(depth - 1, z + 1); k++)
      for (let j = Math.max(0, y - 1); j <= Math.min(height - 1, y + 1); j++)
        for (let i = Math.max(0, x - 1); i <= Math.min(width - 1, x + 1); i++) {
          const near = at(shape, [i, j, k])
          if (labels[near] !== label || seen.has(near)) continue
          seen.add(near)
          found.push(near)
        }
  }
  return found
}

/** The labels with these voxels given another label; 0 takes them away. */
export function relabelled({ labels }: Bitmap, voxels: readonly number[], label: number): Uint8Array {
  const changed = labels.slice()
  for (const index of voxels) changed[index] = label
  return changed
}

/** Take back in `after` what a stroke has changed where it may change nothing; tells how much stayed. */
export function limitStroke(before: Uint8Array, after: Uint8Array, may: (index: number) => boolean): number {
  let stayed = 0
  for (let index = 0; index < after.length; index++) {
    if (after[index] === before[index]) continue
    if (may(index)) stayed++
    else after[index] = before[index] as number
  }
  return stayed
}

/** How far slices may lie apart that are joined: beyond that a shape between them would be made up. */
export const MOST_BETWEEN = 20

/** Steps over a plane: how many voxels lie across and up, and where each is in the labels. */
interface PlaneOf {
  across: number
  up: number
  index: (slice: number, i: number, j: number) => number
}

function planeOf(shape: Vec3, axis: 0 | 1 | 2): PlaneOf {
  const [one, two] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2]
  const voxel: [number, number, number] = [0, 0, 0]
  return {
    across: shape[one],
    up: shape[two],
    index: (slice, i, j) => {
      voxel[axis] = slice
      voxel[one] = i
      voxel[two] = j
      return at(shape, voxel)
    },
  }
}

const FAR = 1e9

/** For each voxel of a plane how far it is from the nearest one that is inside: two passes, 1 straight and 1.4 across. */
function distances(inside: (i: number, j: number) => boolean, across: number, up: number): Float64Array {
  const far = new Float64Array(across * up)
  const read = (i: number, j: number): number =>
    i < 0 || j < 0 || i >= across || j >= up ? FAR : (far[i + across * j] as number)
  for (let j = 0; j < up; j++)
    for (let i = 0; i < across; i++)
      far[i + across * j] = inside(i, j)
        ? 0
        : Math.min(read(i - 1, j) + 1, read(i, j - 1) + 1, read(i - 1, j - 1) + 1.4, read(i + 1, j - 1) + 1.4)
  for (let j = up - 1; j >= 0; j--)
    for (let i = across - 1; i >= 0; i--)
      far[i + across * j] = Math.min(
        read(i, j),
        read(i + 1, j) + 1,
        read(i, j + 1) + 1,
        read(i + 1, j + 1) + 1.4,
        read(i - 1, j + 1) + 1.4,
      )
  return far
}

/** Below 0 inside a label's outline on one slice, above 0 outside; null where the slice has none of it. */
function outline({ labels }: Bitmap, plane: PlaneOf, slice: number, label: number): Float64Array | null {
  const { across, up, index } = plane
  let any = false
  const inside = (i: number, j: number): boolean => labels[index(slice, i, j)] === label
  for (let j = 0; j < up && !any; j++) for (let i = 0; i < across && !any; i++) any = inside(i, j)
  if (!any) return null
  const [out, within] = [distances(inside, across, up), distances((i, j) => !inside(i, j), across, up)]
  return out.map((far, place) => far - (within[place] as number))
}

export interface Between {
  labels: Uint8Array
  /** The painted slices that were joined. */
  from: number
  to: number
  /** Voxels that took the label. */
  added: number
}

/**
 * Fill the empty slices around `slice` with the shapes between the nearest painted ones; only background changes.
 *
 * @returns a sentence where there is nothing to join
 */
export function between(bitmap: Bitmap, axis: 0 | 1 | 2, slice: number, label: number): Between | string {
  const plane = planeOf(bitmap.shape, axis)
  const look = (step: 1 | -1): [number, Float64Array] | null => {
    for (
      let other = slice + step;
      other >= 0 && other < bitmap.shape[axis] && Math.abs(other - slice) <= MOST_BETWEEN;
      other += step
    ) {
      const found = outline(bitmap, plane, other, label)
      if (found) return [other, found]
    }
    return null
  }
  if (outline(bitmap, plane, slice, label))
    return 'This slice has the label already: go to an empty slice between two painted ones.'
  const [low, high] = [look(-1), look(1)]
  if (!low || !high || high[0] - low[0] > MOST_BETWEEN)
    return `There are no two painted slices around this one, at most ${MOST_BETWEEN} apart: paint the label on both sides.`
  const labels = bitmap.labels.slice()
  let added = 0
  for (let here = low[0] + 1; here < high[0]; here++) {
    const share = (here - low[0]) / (high[0] - low[0])
    for (let j = 0; j < plane.up; j++)
      for (let i = 0; i < plane.across; i++) {
        const place = i + plane.across * j
        const index = plane.index(here, i, j)
        if (labels[index] !== 0 || (1 - share) * (low[1][place] as number) + share * (high[1][place] as number) >= 0)
          continue
        labels[index] = label
        added++
      }
  }
  return { labels, from: low[0], to: high[0], added }
}
