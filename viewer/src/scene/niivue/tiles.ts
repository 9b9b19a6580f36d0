/** Where the library has drawn the slices, and where the crosshair lies on each. */
import { type Niivue, SLICE_TYPE } from '@niivue/niivue'
import { SEEN } from '../cuts'
import type { Vec3 } from '../geometry'
import type { TilePlace } from '../overlay'
import type { View } from '../state'
import { PLANES } from './drawing'

/** The library's names of the pictures. */
export const SLICE: Record<Exclude<View, 'multi'>, SLICE_TYPE> = {
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  '3d': SLICE_TYPE.RENDER,
}
// Exact quarters, so that the captions and buttons over the canvas know where the pictures are.
export const QUARTERS: { sliceType: SLICE_TYPE; position: [number, number, number, number] }[] = [
  { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.498, 0.498] },
  { sliceType: SLICE_TYPE.CORONAL, position: [0.502, 0, 0.498, 0.498] },
  { sliceType: SLICE_TYPE.SAGITTAL, position: [0, 0.502, 0.498, 0.498] },
  { sliceType: SLICE_TYPE.RENDER, position: [0.502, 0.502, 0.498, 0.498] },
]
/** Where the slices are; `sizes` are the scene's. */
export function tilePlaces(nv: Niivue, sizes: Vec3): TilePlace[] {
  const mmOf = (fraction: Parameters<Niivue['frac2mm']>[0]) => nv.frac2mm(fraction, 0, nv.opts.isSliceMM)
  const mm = mmOf(nv.scene.crosshairPos)
  const [first, second] = [mmOf(nv.vox2frac([0, 0, 0])), mmOf(nv.vox2frac([1, 1, 1]))]
  return nv.screenSlices.flatMap((tile): TilePlace[] => {
    const plane = PLANES[tile.axCorSag]
    if (!plane || tile.sliceFrac === Number.POSITIVE_INFINITY) return []
    const [left = 0, top = 0, width = 0, height = 0] = tile.leftTopWidthHeight
    const [across = 1, up = 1] = tile.fovMM
    const [x, y] = SEEN[plane]
    const onCanvas = (place: ArrayLike<number>): [number, number] => [
      left + (((place[x] ?? 0) - (tile.leftTopMM[0] ?? 0)) / across) * width,
      top + height - (((place[y] ?? 0) - (tile.leftTopMM[1] ?? 0)) / up) * height,
    ]
    const [start, next] = [onCanvas(first), onCanvas(second)]
    const step = [next[0] - start[0], next[1] - start[1]] as const
    const voxels = { start, step, sizes: [sizes[x], sizes[y]] as const }
    const pixelsPerMm = width / Math.abs(across)
    return [{ plane, box: [left, top, width, height], cross: onCanvas(mm), pixelsPerMm, voxels }]
  })
}

const ZOOMS = { least: 1, most: 8 }

/** Zoom the slices around the crosshair; 0 shows them whole again. */
export function zoomSlices(nv: Niivue, factor: number): void {
  const [x = 0, y = 0, z = 0, before = 1] = nv.scene.pan2Dxyzmm
  const zoom = factor === 0 ? 1 : Math.min(Math.max(before * factor, ZOOMS.least), ZOOMS.most)
  if (zoom === 1) {
    nv.setPan2Dxyzmm([0, 0, 0, 1])
    return
  }
  const place = nv.frac2mm(nv.scene.crosshairPos)
  const shift = before - zoom // keeps the crosshair where it is on screen
  nv.setPan2Dxyzmm([x + shift * (place[0] ?? 0), y + shift * (place[1] ?? 0), z + shift * (place[2] ?? 0), zoom])
}
