/** What is drawn over the pictures, on the page and in screenshots: crosshair, scale bar, which slice of which sequence. */
import type { CaseOut } from '../api/types'
import { AXIS_OF, type Plane, type Vec3 } from './geometry'
import type { SceneState, SequenceChoice } from './state'

/** A slice on the canvas, in its pixels. */
export interface TilePlace {
  plane: Plane
  /** Left, top, width, height. */
  box: readonly [number, number, number, number]
  /** Where the crosshair is. */
  cross: readonly [number, number]
  pixelsPerMm: number
  /** Where scene voxels lie on the canvas, across and up: the centre of the first, from one to the next, and how many. */
  voxels: {
    start: readonly [number, number]
    step: readonly [number, number]
    sizes: readonly [number, number]
  }
}

export const CROSS = 'rgb(89 204 255 / 85%)'
const BARS_MM = [100, 50, 20, 10, 5, 2, 1] as const
const PLANE_NAMES: Record<Plane, string> = { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' }

/** The longest bar that takes a third of the picture at most. */
export const barMm = (pixelsPerMm: number, width: number): number =>
  BARS_MM.find((mm) => mm * pixelsPerMm <= width / 3) ?? 0

/** What a slice says of itself: plane, number, thickness. */
export function sliceText(plane: Plane, voxel: Vec3, sizes: Vec3, spacing: Vec3): string {
  const axis = AXIS_OF[plane]
  return `${PLANE_NAMES[plane]} ${voxel[axis] + 1}/${sizes[axis]}, ${+spacing[axis].toFixed(2)} mm`
}

/** The sequence on screen, and whether it was resampled: pictures lie on the grid of the reference scan. */
export function sequenceText(
  choice: SequenceChoice | undefined,
  reference: string | null | undefined,
  titles: (key: string) => string,
): string {
  if (!choice) return ''
  const resampled = reference && choice.key !== reference ? `, resampled to ${titles(reference)}` : ''
  return `${choice.title}${choice.mark ? ` (${choice.mark})` : ''}${resampled}`
}

export interface OverlayWords {
  sequence: string
  /** Of each plane. */
  slice: Record<Plane, string>
}

export function overlayWords(state: SceneState, result: Pick<CaseOut, 'reference'>): OverlayWords {
  const voxel = state.cursor.value?.voxel ?? [0, 0, 0]
  const title = (key: string) => state.sequences.value.find((one) => one.key === key)?.title ?? key
  const slice = (plane: Plane) => sliceText(plane, voxel, state.sizes.value, state.spacing.value)
  return {
    sequence: sequenceText(state.choice.value, result.reference, title),
    slice: { axial: slice('axial'), coronal: slice('coronal'), sagittal: slice('sagittal') },
  }
}

type Brush = CanvasRenderingContext2D

/** Words on a dark ground, as they stand on bright tissue too. */
export function worded(brush: Brush, text: string, x: number, y: number, size: number, align: 'left' | 'right'): void {
  const width = brush.measureText(text).width
  brush.fillStyle = 'rgb(10 14 19 / 70%)'
  brush.fillRect(align === 'left' ? x - 2 : x - width - 2, y - size * 1.1, width + 4, size * 1.35)
  brush.fillStyle = '#e8ecf1'
  brush.textAlign = align
  brush.textBaseline = 'alphabetic'
  brush.fillText(text, x, y)
}

/**
 * Draw over the pictures.
 *
 * @param one device pixels of one pixel of the page: lines are that wide at every zoom
 * @param cell where the captions of a plane belong, which may be larger than its picture
 */
export function drawOverlay(
  brush: Brush,
  places: readonly TilePlace[],
  words: OverlayWords,
  one: number,
  cell: (plane: Plane) => readonly [number, number, number, number],
): void {
  const size = 12 * one
  const line = Math.max(1, Math.round(one))
  brush.font = `${size}px system-ui, sans-serif`
  for (const { plane, box, cross, pixelsPerMm } of places) {
    const [left, top, width, height] = box
    brush.save()
    brush.beginPath()
    brush.rect(left, top, width, height)
    brush.clip()
    brush.fillStyle = CROSS
    brush.fillRect(Math.round(cross[0] - line / 2), top, line, height)
    brush.fillRect(left, Math.round(cross[1] - line / 2), width, line)
    brush.restore()
    const [cellLeft, cellTop, cellWidth, cellHeight] = cell(plane)
    const edge = 7 * one
    const bottom = cellTop + cellHeight - edge
    worded(brush, words.slice[plane], cellLeft + edge, bottom, size, 'left')
    worded(brush, words.sequence, cellLeft + edge, bottom - 1.4 * size, size, 'left')
    const mm = barMm(pixelsPerMm, cellWidth)
    const right = cellLeft + cellWidth - edge
    const bar = mm * pixelsPerMm
    brush.fillStyle = 'rgb(10 14 19 / 70%)'
    brush.fillRect(right - bar - one, bottom - 3 * one, bar + 2 * one, 5 * one)
    brush.fillStyle = '#e8ecf1'
    brush.fillRect(right - bar, bottom - 2 * one, bar, 3 * one)
    worded(brush, `${mm} mm`, right, bottom - 0.7 * size, size, 'right')
  }
}

/** The cells of the pictures on a canvas: a quarter each, or all of it for the one that is alone. */
export function cellsOf(alone: boolean, width: number, height: number) {
  const half: Record<Plane, readonly [number, number]> = { axial: [0, 0], coronal: [0.5, 0], sagittal: [0, 0.5] }
  return (plane: Plane): readonly [number, number, number, number] =>
    alone ? [0, 0, width, height] : [half[plane][0] * width, half[plane][1] * height, width / 2, height / 2]
}
