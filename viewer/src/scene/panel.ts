/** Small things that the panel's components share. */
import type { CaseOut, LabelTerm, Vocabulary, Volumes } from '../api/types'
import { sentenceOf } from '../app/vocabulary'
import type { SceneController } from './controller'
import { type SceneState, type SequenceChoice, type View, volumesFromCounts } from './state'

export interface Tile {
  view: Exclude<View, 'multi'>
  name: string
}

/** The four pictures as they lie on the canvas: first row, second row. */
export const TILES: readonly Tile[] = [
  { view: 'axial', name: 'Axial' },
  { view: 'coronal', name: 'Coronal' },
  { view: 'sagittal', name: 'Sagittal' },
  { view: '3d', name: '3D' },
]

export const tilesOf = (view: View): readonly Tile[] => TILES.filter((tile) => view === 'multi' || view === tile.view)

export interface PartProps {
  scene: SceneController
  vocabulary: Vocabulary
  result: CaseOut
}

/** Say left or right of a picture in words. */
export const sidesInWords = (radiological: boolean): string =>
  radiological ? 'Radiological: the patient’s right is on the left' : 'Neurological: the patient’s left is on the left'

export const labelName = (vocabulary: Vocabulary, value: number): string =>
  value === 0 ? 'no label' : (vocabulary.labels.find((entry) => entry.value === value)?.name ?? `label ${value}`)

/** Letters for what has no other mark: a number key shows or hides the label. */
export const keyOf = (vocabulary: Vocabulary, label: LabelTerm): number => vocabulary.labels.indexOf(label) + 1

const withoutIntervals = (volumes: Record<string, number>): Volumes =>
  Object.fromEntries(Object.entries(volumes).map(([key, ml]) => [key, { ml }]))

/** The volumes of what is on screen, and where they come from. */
export function volumesShown(
  state: SceneState,
  vocabulary: Vocabulary,
  result: CaseOut,
  voxelMl: number,
): { volumes: Volumes; source: string } {
  if (state.before.value)
    return { volumes: withoutIntervals(result.postprocess?.before_ml ?? {}), source: 'before cleaning' }
  if (state.unsaved.value)
    return {
      volumes: withoutIntervals(volumesFromCounts(state.counts.value, voxelMl, vocabulary.labels, vocabulary.regions)),
      source: 'of the drawing, not saved yet',
    }
  const version = state.version.value
  const found = state.versions.value.find((entry) => entry.version === version)
  // Before the versions are known the result's own volumes are: 0 ml would be untrue.
  const volumes = found?.volumes_ml ?? (version === result.version ? result.volumes_ml : {})
  return { volumes, source: version === 0 ? 'of the model' : `of your version ${version}` }
}

/** Whether a sequence is seen before or after brightness matching, and what the model saw. */
export function matchingText({ harmonization }: CaseOut, choice: SequenceChoice, shown: boolean): string {
  const method = harmonization ? ` (method: ${harmonization.asked})` : ''
  if (!choice.matchedFile) {
    const reason = harmonization?.sequences?.[choice.key]?.reason
    return `Brightness matching${method} passed ${choice.title} on unchanged, so the model saw the original. ${sentenceOf(reason)}`.trim()
  }
  return shown
    ? `After brightness matching${method}: ${choice.title} as the model saw it, brought back onto your scan. It covers the brain only.`
    : `Before brightness matching${method}: ${choice.title} as it came. The model saw the picture after it, which covers the brain only.`
}
