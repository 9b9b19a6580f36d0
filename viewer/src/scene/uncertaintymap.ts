/** Where the model's answer is uncertain: a map from 0 to 1 on the grid of the pictures, its colours, and whether it is seen. */
import type { Stack } from './cuts'
import { intensities } from './cuts'
import { sentence } from './editing'
import { sceneShape, type Vec3 } from './geometry'
import type { SequenceHost } from './sequences'

/** The name that the viewer keeps the map under. */
export const MAP = 'uncertainty'
/** What is below is not coloured. */
export const SEEN_FROM = 0.1
/** What is above has the last colour. */
export const FULL_AT = 0.5

/**
 * Colours of equal steps from 0 to `FULL_AT`: hue and lightness both rise, as those with colour blindness need. What is 0
 * has no colour, in 3D as well, which draws all values.
 */
export const STOPS: readonly (readonly [red: number, green: number, blue: number, alpha: number])[] = [
  [68, 1, 84, 0],
  [59, 82, 139, 100],
  [33, 145, 140, 125],
  [94, 201, 98, 150],
  [253, 231, 37, 170],
]

/** Red, green, blue and opacity (0 to 255) of an uncertainty. */
export function colourOf(uncertainty: number): readonly [number, number, number, number] {
  if (!(uncertainty >= SEEN_FROM)) return [0, 0, 0, 0]
  const place = Math.min(uncertainty / FULL_AT, 1) * (STOPS.length - 1)
  const at = Math.min(Math.floor(place), STOPS.length - 2)
  const [low, high] = [STOPS[at], STOPS[at + 1]] as const
  const mixed = (part: 0 | 1 | 2 | 3) =>
    Math.round((low?.[part] ?? 0) + ((high?.[part] ?? 0) - (low?.[part] ?? 0)) * (place - at))
  return [mixed(0), mixed(1), mixed(2), mixed(3)]
}

export class UncertaintyMap {
  private readonly host: SequenceHost

  constructor(host: SequenceHost) {
    this.host = host
  }

  /** The map's voxels, while it is seen. */
  stack(): Stack | null {
    return (this.host.state.uncertain.value && this.host.viewer()?.stack(MAP)) || null
  }

  /** How uncertain the answer is at a scene voxel; null while the map is not seen. */
  at(voxel: Vec3): number | null {
    const stack = this.stack()
    const lie = stack && this.host.viewer()?.whole()
    if (!stack || !lie) return null
    const [width, height] = sceneShape(lie.grid.shape, lie.order)
    return intensities(stack, lie.grid.shape, lie.order)(voxel[0] + width * (voxel[1] + height * voxel[2]))
  }

  /** Lay the map over the pictures, or take it away. */
  async show(on: boolean): Promise<void> {
    const { state, source, say } = this.host
    const viewer = this.host.viewer()
    const file = state.uncertaintyFile.value
    if (!viewer || !file) return
    try {
      if (on && !viewer.has(MAP)) {
        await viewer.add(MAP, await source.ahead(file))
        source.forget(file)
      }
      if (this.host.viewer() !== viewer) return
      viewer.layOver(on ? MAP : null)
      state.uncertain.value = on
    } catch (error) {
      say('error', `The map of uncertainty could not be shown. ${sentence(error)}`)
    }
  }
}
