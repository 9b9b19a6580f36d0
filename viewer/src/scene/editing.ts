/** Correcting the mask: brush, versions, before and after, saving. */
import { batch } from '@preact/signals'
import type { SegmentationVersion } from '../api/types'
import type { Waiting } from '../app/stash'
import { brainOf } from './brain'
import { modelMask } from './files'
import { AXIS_OF, type Grid, sameGrid } from './geometry'
import { type Mask, packed, writeMask } from './nifti'
import type { Viewer } from './niivue'
import type { Source } from './source'
import {
  afterRedo,
  afterSave,
  afterStroke,
  afterUndo,
  BRUSHES,
  type Mode,
  NO_EDITS,
  type Pen,
  type SceneState,
} from './state'
import { between, partAt, relabelled } from './tools'

/** What correcting needs from the rest of the panel. */
export interface EditHost {
  readonly state: SceneState
  readonly source: Source
  viewer: () => Viewer | null
  setMode: (mode: Mode) => void
  /** The drawing on screen has changed. */
  changed: () => void
  say: (kind: 'info' | 'error', text: string) => void
  saved: () => void
  /** Ask again which versions there are. */
  learnVersions: () => Promise<void>
}

/** A drawing that is off screen for a while. */
interface Kept {
  labels: Uint8Array
  unsaved: boolean
}

export const sentence = (error: unknown): string =>
  error instanceof Error && error.message ? error.message : 'Something went wrong in this page; try again.'

const newestOf = (versions: readonly SegmentationVersion[]): number =>
  Math.max(0, ...versions.map(({ version }) => version))

function mustFit(mask: Mask, grid: Grid): Mask {
  if (!sameGrid(grid, mask.grid)) throw new Error('The mask does not lie on the same grid as the pictures.')
  return mask
}

export class Editing {
  private readonly host: EditHost
  private kept: Kept | null = null

  constructor(host: EditHost) {
    this.host = host
  }

  /** Put the mask of the shown version on screen, or the drawing that was kept when the canvas was lost. */
  begin(viewer: Viewer, mask: Mask): void {
    mustFit(mask, viewer.imageGrid())
    viewer.drawing.set(this.kept?.labels ?? mask.labels)
    this.takeBack()
  }

  private takeBack(): void {
    const { state } = this.host
    batch(() => {
      state.edits.value = this.kept?.unsaved ? { ...NO_EDITS, saved: -1 } : NO_EDITS
      state.before.value = false
    })
    this.kept = null
  }

  /** Remember the drawing before something else takes its place, or the canvas goes. */
  keep(): void {
    const { state } = this.host
    const viewer = this.host.viewer()
    if (viewer && !state.before.value && state.phase.value === 'ready')
      this.kept = { labels: viewer.drawing.labels(), unsaved: state.unsaved.value }
  }

  /** The drawing with its unsaved strokes, for whoever comes after this panel; null if nothing is unsaved. */
  handOver(): Waiting | null {
    const { state } = this.host
    this.keep()
    return this.kept?.unsaved ? { labels: this.kept.labels, version: state.version.value } : null
  }

  /** Begin with a drawing that an earlier panel left. */
  receive({ labels, version }: Waiting): void {
    this.kept = { labels, unsaved: true }
    this.host.state.version.value = version
    this.host.say('info', 'The changes that you have not saved are still here.')
  }

  stroke(): void {
    const { edits } = this.host.state
    edits.value = afterStroke(edits.value)
    this.host.changed()
  }

  undo(): void {
    const { state } = this.host
    if (state.edits.value.undoable < 1 || state.before.value) return
    this.host.viewer()?.drawing.undo()
    state.edits.value = afterUndo(state.edits.value)
    this.host.changed()
  }

  redo(): void {
    const { state } = this.host
    if (state.edits.value.redoable < 1 || state.before.value) return
    this.host.viewer()?.drawing.redo()
    state.edits.value = afterRedo(state.edits.value)
    this.host.changed()
  }

  /** Give the part at the crosshair another label; 0 takes it away. */
  relabelPart(label: number): void {
    const viewer = this.host.viewer()
    if (!viewer || this.host.state.before.value) return
    const here = viewer.drawing.here()
    const part = partAt(here, here.voxel)
    if (!part.length) {
      this.host.say('error', 'There is no label at the crosshair: click into the part first.')
      return
    }
    if (here.labels[part[0] as number] === label) return
    viewer.drawing.change(relabelled(here, part, label))
    this.host.say(
      'info',
      `${part.length} voxels ${label ? 'have another label' : 'were taken away'}; Undo brings them back.`,
    )
  }

  /** Fill the slices between two painted ones, in the plane that was touched last, with the brush's label. */
  interpolate(): void {
    const { plane, pen, before } = this.host.state
    const viewer = this.host.viewer()
    if (!viewer || before.value) return
    const here = viewer.drawing.here()
    const axis = AXIS_OF[plane.value]
    const made = between(here, axis, here.voxel[axis], pen.value.label)
    if (typeof made === 'string') {
      this.host.say('error', made)
      return
    }
    viewer.drawing.change(made.labels)
    this.host.say('info', `Filled ${plane.value} slices ${made.from + 2} to ${made.to}: ${made.added} voxels.`)
  }

  setPen(change: Partial<Pen>): void {
    const { pen } = this.host.state
    pen.value = { ...pen.value, ...change }
    this.host.viewer()?.drawing.setPen(pen.value)
  }

  /** Let strokes change voxels of the brain only, or all again. */
  async keepToBrain(on: boolean): Promise<void> {
    this.setPen({ brain: on ? await brainOf(this.host) : null })
  }

  /** The next thinner or thicker brush. */
  brush(by: 1 | -1): void {
    const at = BRUSHES.indexOf(this.host.state.pen.value.size) + by
    const size = BRUSHES[Math.min(Math.max(at, 0), BRUSHES.length - 1)]
    if (size) this.setPen({ size })
  }

  /** Paint at the crosshair. */
  paint(): void {
    const { drawing, plane, pen } = this.host.state
    if (drawing.value) this.host.viewer()?.drawing.paint(plane.value, pen.value)
  }

  /** Swap between the model's answer before post-processing, for looking only, and the drawing. */
  async compare(): Promise<void> {
    const { state, source } = this.host
    const viewer = this.host.viewer()
    const name = modelMask(source.files)
    if (!viewer || !name) return
    try {
      if (state.before.value) {
        if (!this.kept) return
        viewer.drawing.set(this.kept.labels)
        this.takeBack()
      } else {
        const mask = mustFit(await source.mask(name), viewer.imageGrid())
        if (state.before.value || viewer !== this.host.viewer()) return
        this.keep()
        this.host.setMode('look')
        state.before.value = true
        viewer.drawing.set(mask.labels)
      }
      this.host.changed()
    } catch (error) {
      this.host.say('error', `Before and after cannot be compared. ${sentence(error)}`)
    }
  }

  /** Show a version. Unsaved strokes would be lost: unless they are given up, this only asks. */
  async showVersion(version: number, giveUp = false): Promise<void> {
    const { state, source } = this.host
    const viewer = this.host.viewer()
    const found = state.versions.value.find((entry) => entry.version === version)
    if (!viewer || !found) return
    if (state.unsaved.value && !giveUp) {
      state.wanted.value = version
      return
    }
    try {
      const mask = mustFit(await source.mask(found.name), viewer.imageGrid())
      if (viewer !== this.host.viewer()) return
      viewer.drawing.set(mask.labels)
      this.kept = null
      this.takeBack()
      batch(() => {
        state.wanted.value = null
        state.version.value = version
        state.notice.value = null
      })
      this.host.changed()
    } catch (error) {
      this.host.say('error', `This version could not be shown. ${sentence(error)}`)
    }
  }

  /** Send the drawing as a new version; true if the server has it. */
  async save(): Promise<boolean> {
    const { state, source } = this.host
    const viewer = this.host.viewer()
    const shown = state.versions.value.find(({ version }) => version === state.version.value)
    if (!viewer || !shown || state.saving.value || state.before.value) return false
    state.saving.value = true
    state.notice.value = null
    const labels = viewer.drawing.labels()
    const sent = state.edits.value
    try {
      const base = await source.mask(shown.name)
      const mask = new Blob([await packed(writeMask(base, labels))])
      const { version, name, volumes_ml, warnings } = await source.send(mask, newestOf(state.versions.value))
      source.remember(name, { ...base, labels })
      batch(() => {
        state.versions.value = [...state.versions.value, { version, name, made_by: 'user', volumes_ml }]
        state.version.value = version
        // Strokes made while it was being sent are still unsaved.
        state.edits.value = { ...state.edits.value, saved: afterSave(sent).saved }
      })
      const text = `Saved as version ${version}; the volumes were computed again.`
      this.host.say('info', [text, ...warnings].join(' '))
      this.host.changed()
      this.host.saved()
      return true
    } catch (error) {
      if (!(await this.overtaken())) this.host.say('error', `The changes were not saved. ${sentence(error)}`)
      return false
    } finally {
      state.saving.value = false
    }
  }

  /** Whether somebody else has saved a version meanwhile; then it is told, and the strokes stay. */
  private async overtaken(): Promise<boolean> {
    const { versions } = this.host.state
    const known = newestOf(versions.value)
    try {
      await this.host.learnVersions()
    } catch {
      return false // the reason why saving failed is told instead
    }
    const newest = newestOf(versions.value)
    if (newest > known)
      this.host.say(
        'error',
        `Version ${newest} was saved elsewhere meanwhile and is the current one. Your changes are still here, unsaved: look at version ${newest} under Versions, or save yours as one more version.`,
      )
    return newest > known
  }

  /** The case has a version that was saved elsewhere: show it, or say so where strokes would be lost. */
  async follow(newest: number): Promise<void> {
    const { state } = this.host
    if (!state.ready.value || state.saving.value || newest <= newestOf(state.versions.value)) return
    if (state.unsaved.value || state.before.value) {
      await this.overtaken()
      return
    }
    try {
      await this.host.learnVersions()
      await this.showVersion(newest)
      this.host.say('info', `Version ${newest} was saved elsewhere; it is on screen now.`)
    } catch (error) {
      this.host.say('error', `Version ${newest} was saved elsewhere and could not be loaded. ${sentence(error)}`)
    }
  }

  /** Save, then show the version that was asked for. */
  async saveThenShow(version: number): Promise<void> {
    if (this.host.state.before.value) await this.compare()
    if (await this.save()) await this.showVersion(version)
  }
}
