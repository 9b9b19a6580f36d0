/** The mask as the library's drawing: shown, painted, taken back, and read out again in the file's order. */
import type { Niivue } from '@niivue/niivue'
import { intensities, type Stack } from '../cuts'
import {
  type AxisOrder,
  countLabels,
  type Grid,
  middleOf,
  type Plane,
  sceneShape,
  toFileOrder,
  toSceneOrder,
  type Vec3,
} from '../geometry'
import type { Pen } from '../state'
import { type Bitmap, limitStroke } from '../tools'

/** How the file's voxels lie in the scene. */
export interface Lie {
  grid: Grid
  order: AxisOrder
}

export const PLANES: readonly Plane[] = ['axial', 'coronal', 'sagittal']

export class Drawing {
  private readonly nv: Niivue
  private readonly lie: () => Lie
  private readonly stroke: () => void
  private readonly stack: () => Stack
  private listening = false
  /** What strokes may change. */
  private limits: Pick<Pen, 'limit' | 'brain'> = { limit: null, brain: null }
  /** The drawing before the stroke that is going on, where strokes may not change all. */
  private before: Uint8Array | null = null

  constructor(nv: Niivue, lie: () => Lie, stack: () => Stack, stroke: () => void) {
    this.nv = nv
    this.lie = lie
    this.stack = stack
    this.stroke = stroke
  }

  /** The library is about to remember an edit: what the brush may not change is taken back before. */
  completing(): void {
    if (!this.before || !this.listening) return
    const { limit, brain } = this.limits
    const { grid, order } = this.lie()
    const intensity = intensities(this.stack(), grid.shape, order)
    limitStroke(this.before, this.bitmap(), (index) => {
      if (brain && !brain[index]) return false
      const value = limit ? intensity(index) : 0
      return !limit || (value >= limit.low && value <= limit.high)
    })
    this.nv.refreshDrawing(true)
  }

  /** The library has changed the drawing. */
  edited(): void {
    this.remember()
    if (this.listening) this.stroke()
  }

  /** Keep the drawing as it is now, for what the next stroke may not change. */
  private remember(): void {
    const { limit, brain } = this.limits
    this.before = limit || brain ? (this.nv.drawBitmap?.slice() ?? null) : null
  }

  private bitmap(): Uint8Array {
    if (!this.nv.drawBitmap) throw new Error('no mask is shown yet')
    return this.nv.drawBitmap
  }

  /** Show these labels (file order, the image's grid). What could be undone before is forgotten. */
  set(labels: Uint8Array): void {
    const { grid, order } = this.lie()
    this.listening = false
    if (!this.nv.drawBitmap) this.nv.createEmptyDrawing()
    this.nv.drawBitmap = toSceneOrder(labels, grid.shape, order)
    this.nv.drawClearAllUndoBitmaps()
    this.nv.drawAddUndoBitmap()
    this.nv.refreshDrawing(true)
    this.remember()
    this.listening = true
    this.nv.createOnLocationChange()
  }

  /** The labels as drawn, in file order. */
  labels(): Uint8Array {
    const { grid, order } = this.lie()
    return toFileOrder(this.bitmap(), grid.shape, order)
  }

  counts(): Uint32Array {
    return countLabels(this.bitmap())
  }

  /** The label at the crosshair. */
  labelHere(): number {
    const { grid, order } = this.lie()
    const [width, height] = sceneShape(grid.shape, order)
    const [x = 0, y = 0, z = 0] = this.nv.frac2vox(this.nv.scene.crosshairPos)
    return this.nv.drawBitmap?.[x + width * (y + height * z)] ?? 0
  }

  /** The scene voxel to look at for a label, or null if the drawing has none of it. */
  middle(label: number): Vec3 | null {
    const { grid, order } = this.lie()
    return middleOf(this.bitmap(), sceneShape(grid.shape, order), label)
  }

  setPen(pen: Pen): void {
    this.nv.opts.penSize = pen.size
    this.nv.setPenValue(pen.erase ? 0 : pen.label, pen.fill)
    this.limits = pen
    this.remember()
  }

  enable(on: boolean): void {
    if (this.nv.opts.drawingEnabled === on || !this.nv.drawBitmap) return
    this.finishStroke()
    this.nv.setDrawingEnabled(on)
  }

  /** End a stroke that the mouse has not ended. */
  finishStroke(): void {
    if (this.nv.opts.drawingEnabled && !Number.isNaN(this.nv.drawPenLocation[0])) this.nv.mouseUpListener()
  }

  /** Paint at the crosshair, in this plane: drawing without a mouse. */
  paint(plane: Plane, pen: Pen): void {
    const { nv } = this
    this.bitmap()
    const [x = 0, y = 0, z = 0] = nv.frac2vox(nv.scene.crosshairPos)
    nv.opts.penSize = pen.size
    nv.drawPenAxCorSag = PLANES.indexOf(plane)
    nv.drawPt(x, y, z, pen.erase ? 0 : pen.label)
    nv.drawPenAxCorSag = -1
    nv.refreshDrawing(true)
    nv.drawAddUndoBitmap()
    nv.createOnLocationChange()
  }

  /** The labels in the scene's order, and the voxel at the crosshair. */
  here(): Bitmap & { voxel: Vec3 } {
    const { grid, order } = this.lie()
    const [x = 0, y = 0, z = 0] = this.nv.frac2vox(this.nv.scene.crosshairPos)
    return { labels: this.bitmap(), shape: sceneShape(grid.shape, order), voxel: [x, y, z] }
  }

  /** Put other labels (scene order) in place of the drawing, as one step that can be taken back. */
  change(labels: Uint8Array): void {
    this.bitmap()
    this.before = null // limits are of the brush alone
    this.nv.drawBitmap = labels
    this.nv.refreshDrawing(true)
    this.nv.drawAddUndoBitmap()
    this.nv.createOnLocationChange()
  }

  /** Do again what was taken back last. The library only goes back: from two steps ahead that is one ahead. */
  redo(): void {
    const { nv } = this
    nv.currentDrawUndoBitmap = (nv.currentDrawUndoBitmap + 2) % nv.opts.maxDrawUndoBitmaps
    this.undo()
  }

  /** Take back one stroke. The panel counts how many there are: the library fails beyond its first. */
  undo(): void {
    this.nv.drawUndo()
    this.remember()
    this.nv.createOnLocationChange()
  }
}
