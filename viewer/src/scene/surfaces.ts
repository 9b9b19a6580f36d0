/** The label surfaces of the 3D view: which to fetch, and when they show what the labels say. */
import type { Vocabulary } from '../api/types'
import { meshFiles } from './files'
import type { SceneLabel } from './niivue'
import type { Source } from './source'
import type { SceneState } from './state'

/** Fetch the surface of every label that has one, one after the other; `add` gets each. Ends when the signal aborts. */
export async function loadSurfaces(
  source: Source,
  vocabulary: Vocabulary,
  labels: readonly SceneLabel[],
  signal: AbortSignal,
  add: (label: SceneLabel, file: Uint8Array<ArrayBuffer>) => Promise<void>,
): Promise<void> {
  const names = meshFiles(source.files)
  for (const { key, value } of vocabulary.labels) {
    const [name, label] = [names.get(key), labels.find((entry) => entry.value === value)]
    if (!name || !label) continue
    const file = await source.bytes(name)
    if (signal.aborted) return
    await add(label, file)
  }
}

/** Surfaces are the model's answer after post-processing: true for version 0 without strokes, and for nothing else. */
export function surfacesAreTrue({ version, before, edits }: SceneState): boolean {
  return version.value === 0 && !before.value && edits.value.made === 0 && edits.value.saved === 0
}
