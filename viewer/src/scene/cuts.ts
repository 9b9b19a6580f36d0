/** Slices out of arrays, as pixels: for pictures side by side, which a 2D canvas shows. Pure. */

import { AXIS_OF, type AxisOrder, type Plane, sceneShape, type Vec3 } from './geometry'
import type { SceneLabel } from './niivue'
import type { Style } from './state'
import type { Window } from './window'

/** An image: voxels in file order. */
export interface Stack {
  values: ArrayLike<number>
  /** A stored value times `slope` plus `inter` is an intensity. */
  slope: number
  inter: number
  window: Window
}

/** One slice: which plane, which slice along its axis, and which way round it is seen. */
export interface Where {
  plane: Plane
  slice: number
  radiological: boolean
}

/** Which scene axes run across and up a picture. */
export const SEEN: Record<Plane, readonly [0 | 1 | 2, 0 | 1 | 2]> = {
  axial: [0, 1],
  coronal: [0, 2],
  sagittal: [1, 2],
}

/** Whether columns count down: the patient's right, or front, is on the left of the picture. */
const isMirrored = ({ plane, radiological }: Where): boolean => plane === 'sagittal' || radiological

/** The scene voxel under a pixel; rows count from the top. */
export function voxelUnder(where: Where, shape: Vec3, column: number, row: number): Vec3 {
  const [across, up] = SEEN[where.plane]
  const voxel: [number, number, number] = [0, 0, 0]
  voxel[AXIS_OF[where.plane]] = where.slice
  voxel[across] = isMirrored(where) ? shape[across] - 1 - column : column
  voxel[up] = shape[up] - 1 - row
  return voxel
}

/** The pixel of a scene voxel of any slice. */
export function pixelOf(where: Where, shape: Vec3, voxel: Vec3): readonly [number, number] {
  const [across, up] = SEEN[where.plane]
  const column = isMirrored(where) ? shape[across] - 1 - voxel[across] : voxel[across]
  return [column, shape[up] - 1 - voxel[up]]
}

/** Width and height of a slice in voxels. */
export const sizeOf = (plane: Plane, shape: Vec3): readonly [number, number] => [
  shape[SEEN[plane][0]],
  shape[SEEN[plane][1]],
]

/** Index of a pixel in an array with these strides of x, y and z. */
function indices(
  where: Where,
  shape: Vec3,
  start: number,
  steps: Vec3,
): { first: number; right: number; down: number } {
  const at = ([x, y, z]: Vec3): number => start + x * steps[0] + y * steps[1] + z * steps[2]
  const first = at(voxelUnder(where, shape, 0, 0))
  return {
    first,
    right: at(voxelUnder(where, shape, 1, 0)) - first,
    down: at(voxelUnder(where, shape, 0, 1)) - first,
  }
}

/** Strides along the scene's axes of an array in file order. */
function fileSteps(shape: Vec3, order: AxisOrder): { start: number; steps: Vec3 } {
  const strides = [1, shape[0], shape[0] * shape[1]] as const
  let start = 0
  const steps = order.map(({ fileAxis, flipped }) => {
    const stride = strides[fileAxis as 0 | 1 | 2]
    if (flipped) start += (shape[fileAxis as 0 | 1 | 2] - 1) * stride
    return flipped ? -stride : stride
  }) as unknown as Vec3
  return { start, steps }
}

/** Grey pixels (RGBA) of one slice; `shape` is the file's. */
export function greyOf(stack: Stack, shape: Vec3, order: AxisOrder, where: Where): Uint8ClampedArray<ArrayBuffer> {
  const scene = sceneShape(shape, order)
  const { start, steps } = fileSteps(shape, order)
  const { first, right, down } = indices(where, scene, start, steps)
  const [width, height] = sizeOf(where.plane, scene)
  const pixels = new Uint8ClampedArray(4 * width * height)
  const { low, high } = stack.window
  const scale = (255 * stack.slope) / Math.max(high - low, 1e-12)
  const offset = (255 * (stack.inter - low)) / Math.max(high - low, 1e-12)
  let pixel = 0
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++, pixel += 4) {
      const grey = (stack.values[first + row * down + column * right] as number) * scale + offset
      pixels[pixel] = grey
      pixels[pixel + 1] = grey
      pixels[pixel + 2] = grey
      pixels[pixel + 3] = 255
    }
  return pixels
}

/** Colours (RGBA) of one slice of a map, to be laid over it; `shape` is the file's. */
export function coloursOf(
  stack: Stack,
  shape: Vec3,
  order: AxisOrder,
  where: Where,
  colour: (value: number) => readonly [number, number, number, number],
): Uint8ClampedArray<ArrayBuffer> {
  const scene = sceneShape(shape, order)
  const { start, steps } = fileSteps(shape, order)
  const { first, right, down } = indices(where, scene, start, steps)
  const [width, height] = sizeOf(where.plane, scene)
  const pixels = new Uint8ClampedArray(4 * width * height)
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const stored = stack.values[first + row * down + column * right] as number
      if (stored) pixels.set(colour(stored * stack.slope + stack.inter), 4 * (row * width + column))
    }
  return pixels
}

/** Intensity of a voxel by its index in the scene's order; `shape` is the file's. */
export function intensities(stack: Stack, shape: Vec3, order: AxisOrder): (index: number) => number {
  const [width, height] = sceneShape(shape, order)
  const { start, steps } = fileSteps(shape, order)
  return (index) => {
    const [x, y, z] = [index % width, Math.floor(index / width) % height, Math.floor(index / (width * height))]
    const stored = stack.values[start + x * steps[0] + y * steps[1] + z * steps[2]] as number
    return stored * stack.slope + stack.inter
  }
}

/** How labels are laid over a slice. */
export interface Marking {
  labels: readonly SceneLabel[]
  isSeen: (label: number) => boolean
  style: Style
  opacity: number
  /** Leave gaps, so that what lies beneath is seen. */
  dashed?: boolean
}

const WHITE: SceneLabel['rgb'] = [255, 255, 255]
/** Every label in white: what another mask is drawn in. */
const ALL_WHITE: Pick<Marking, 'labels' | 'isSeen'> = {
  labels: Array.from({ length: 255 }, (_, at) => ({ value: at + 1, name: '', rgb: WHITE })),
  isSeen: () => true,
}

/** Draw the outlines of another mask's parts as white dashes. */
export function outline(pixels: Uint8ClampedArray, other: Uint8Array, scene: Vec3, where: Where): void {
  mark(pixels, other, scene, where, { ...ALL_WHITE, style: 'outline', opacity: 0, dashed: true })
}

const coloursOfLabels = ({ labels, isSeen }: Pick<Marking, 'labels' | 'isSeen'>) =>
  new Map(labels.filter(({ value }) => isSeen(value)).map(({ value, rgb }) => [value, rgb]))

/** The label of each pixel of a slice; 0 beside it. */
function reader(drawn: Uint8Array, scene: Vec3, where: Where): (column: number, row: number) => number {
  const { first, right, down } = indices(where, scene, 0, [1, scene[0], scene[0] * scene[1]])
  const [width, height] = sizeOf(where.plane, scene)
  return (column, row) =>
    column < 0 || row < 0 || column >= width || row >= height
      ? 0
      : (drawn[first + row * down + column * right] as number)
}

/** Sides of pixels that another label, or none, lies beyond: for lines that stay thin where pixels are large. */
export interface Edges {
  rgb: SceneLabel['rgb']
  dashed: boolean
  /** Column, row and side (0 left, 1 right, 2 top, 3 bottom), one after the other. */
  sides: number[]
}

/** The outlines of labels (scene order) on a slice; without `marking` those of another mask, as white dashes. */
export function edgesOf(
  drawn: Uint8Array,
  scene: Vec3,
  where: Where,
  marking?: Pick<Marking, 'labels' | 'isSeen'>,
): Edges[] {
  const colours = coloursOfLabels(marking ?? ALL_WHITE)
  const read = reader(drawn, scene, where)
  const [width, height] = sizeOf(where.plane, scene)
  const found = new Map<SceneLabel['rgb'], number[]>()
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const label = read(column, row)
      const rgb = label ? colours.get(label) : undefined
      if (!rgb) continue
      const beyond = [read(column - 1, row), read(column + 1, row), read(column, row - 1), read(column, row + 1)]
      for (const [side, other] of beyond.entries()) {
        if (other === label) continue
        const sides = found.get(rgb) ?? []
        found.set(rgb, sides)
        sides.push(column, row, side)
      }
    }
  return [...found].map(([rgb, sides]) => ({ rgb, dashed: !marking, sides }))
}

/** Draw labels (scene order) into transparent pixels (RGBA) of a slice, which are then laid over it. */
export function mark(pixels: Uint8ClampedArray, drawn: Uint8Array, scene: Vec3, where: Where, marking: Marking): void {
  const [width, height] = sizeOf(where.plane, scene)
  const colours = coloursOfLabels(marking)
  const read = reader(drawn, scene, where)
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const label = read(column, row)
      const rgb = label ? colours.get(label) : undefined
      if (!rgb) continue
      const isEdge =
        read(column - 1, row) !== label ||
        read(column + 1, row) !== label ||
        read(column, row - 1) !== label ||
        read(column, row + 1) !== label
      const share = isEdge && marking.style !== 'fill' ? 1 : marking.style === 'outline' ? 0 : marking.opacity
      if (!share || (marking.dashed && (column + row) & 2)) continue
      const pixel = 4 * (row * width + column)
      for (const part of [0, 1, 2] as const) pixels[pixel + part] = rgb[part]
      pixels[pixel + 3] = 255 * share
    }
}
