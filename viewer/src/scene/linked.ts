/** All sequences side by side: what of them is in memory, and where the crosshair goes. */
import type { Drawn } from './cells'
import type { Stack } from './cuts'
import { sentence } from './editing'
import { framed, lookedTo, panned, placeAt, type Share, WHOLE, zoomedAt } from './frame'
import { sameGrid, toSceneOrder, type Vec3 } from './geometry'
import type { Lie } from './niivue/drawing'
import type { SequenceHost, SequenceSwitch } from './sequences'
import { pictureOf } from './state'

export interface LinkedPicture {
  key: string
  title: string
  stack: Stack
}

export class LinkedPictures {
  /** What shows them, while they are shown. */
  canvas: HTMLCanvasElement | null = null
  /** Where they lie on it. */
  drawnAt: readonly Drawn[] = []
  /** The crosshair, as shares of each picture. */
  cross: Share = [0.5, 0.5]
  private readonly host: SequenceHost
  private readonly sequences: SequenceSwitch

  constructor(host: SequenceHost, sequences: SequenceSwitch) {
    this.host = host
    this.sequences = sequences
  }

  /** Show all sequences in one plane, or the views again. */
  async show(on: boolean): Promise<void> {
    if (on) await this.sequences.addAll()
    this.host.state.frame.value = WHOLE
    this.host.state.sideBySide.value = on && this.host.viewer() !== null
  }

  /** The sequences that are in memory, in order. */
  pictures(): LinkedPicture[] {
    const { sequences, matched } = this.host.state
    return sequences.value.flatMap((choice) => {
      const picture = pictureOf(choice, matched.value)
      const stack = picture && this.host.viewer()?.stack(picture.key)
      return stack ? [{ key: choice.key, title: choice.title + (choice.mark && ` (${choice.mark})`), stack }] : []
    })
  }

  /** How the files' voxels lie in the scene; null before there is a picture. */
  lie(): Lie | null {
    return this.host.state.ready.value ? (this.host.viewer()?.whole() ?? null) : null
  }

  /** The labels on screen, in the scene's order. */
  drawn(): Uint8Array {
    return this.host.viewer()?.drawing.here().labels ?? new Uint8Array()
  }

  /** Compare what is on screen with a version; null ends it. */
  async compareWith(version: number | null): Promise<void> {
    const { state, source, say } = this.host
    const found = state.versions.value.find((entry) => entry.version === version)
    const lie = this.lie()
    state.against.value = null
    if (!found || !lie) return
    try {
      const mask = await source.mask(found.name)
      if (!sameGrid(mask.grid, lie.grid)) throw new Error('It does not lie on the grid of the pictures.')
      state.against.value = { version: found.version, labels: toSceneOrder(mask.labels, lie.grid.shape, lie.order) }
    } catch (error) {
      say('error', `The versions could not be compared. ${sentence(error)}`)
    }
  }

  goTo(voxel: Vec3): void {
    const [x, y, z] = this.host.state.cursor.value?.voxel ?? voxel
    this.host.viewer()?.step([voxel[0] - x, voxel[1] - y, voxel[2] - z])
  }

  /** Zoom all of them around a point of the canvas, else around the crosshair; 0 shows them whole again. */
  zoom(factor: number, at?: Share): void {
    const { frame } = this.host.state
    const place = at ? placeAt(this.drawnAt, ...at) : this.drawnAt[0]
    if (!place) return
    const { left, top, width, height } = framed(place, frame.value)
    const [x, y] = at ?? [left + this.cross[0] * width, top + this.cross[1] * height]
    frame.value = zoomedAt(frame.value, factor, place, x, y)
  }

  /** Move all of them by pixels of the canvas. */
  pan(right: number, down: number): void {
    const { frame } = this.host.state
    const place = this.drawnAt[0]
    if (place) frame.value = panned(frame.value, place, right, down)
  }

  /** Look to the side of an arrow key. */
  look(key: string): void {
    const { frame } = this.host.state
    const place = this.drawnAt[0]
    if (place) frame.value = lookedTo(frame.value, place, key)
  }
}
