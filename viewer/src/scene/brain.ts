/** The brain as the run found it, so that the brush can be kept to it. */
import { brainMask } from './files'
import { sameGrid, toSceneOrder } from './geometry'
import { readMask } from './nifti'
import type { SequenceHost } from './sequences'

/** Why the switch is off: the file came with a version of the platform. */
export const NO_BRAIN =
  'Needs the mask of the brain, which runs of an earlier version did not keep: run the case again.'

/** Not 0 inside the brain, in the scene's order; null if it cannot be had, which is then said. */
export async function brainOf({ source, viewer, say }: SequenceHost): Promise<Uint8Array | null> {
  const shown = viewer()
  const name = brainMask(source.files)
  if (!shown || !name) return null
  try {
    const { grid, labels } = await readMask(await source.bytes(name))
    if (!sameGrid(grid, shown.imageGrid())) throw new Error('Its mask does not lie on the grid of the pictures.')
    return toSceneOrder(labels, grid.shape, shown.whole().order)
  } catch (error) {
    const why = error instanceof Error ? error.message : ''
    say('error', `The brush could not be kept to the brain. ${why}`.trim())
    return null
  }
}
