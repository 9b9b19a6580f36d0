/** All sequences side by side: what of them is in memory, and where the crosshair goes. */
import type { Stack } from './cuts'
import { sentence } from './editing'
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
  private readonly host: SequenceHost
  private readonly sequences: SequenceSwitch

  constructor(host: SequenceHost, sequences: SequenceSwitch) {
    this.host = host
    this.sequences = sequences
  }

  /** Show all sequences in one plane, or the views again. */
  async show(on: boolean): Promise<void> {
    if (on) await this.sequences.addAll()
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
}
