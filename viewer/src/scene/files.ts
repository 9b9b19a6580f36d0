/** Which of a case's files is what, by the names and kinds of the gateway's contract. Pure. */
import type { CaseOut, FileOut, SegmentationVersion, Words } from '../api/types'
import { type Picture, pictureOf, type SceneState, type SequenceChoice } from './state'

const VIEW = /-(t1n|t1c|t2w|t2f)-view\.nii(\.gz)?$/
const HARMONIZED = /-(t1n|t1c|t2w|t2f)-harmonized-view\.nii(\.gz)?$/
const MESH = /-mesh-([A-Za-z0-9]+)\.mz3$/
const MASK = /-seg\.nii(\.gz)?$/
const MODEL_MASK = /-seg-model\.nii(\.gz)?$/

/** One entry for every sequence that the platform knows, shown or not. */
export function sequenceChoices(files: readonly FileOut[], words: Words, result: CaseOut): SequenceChoice[] {
  const absent = new Set(result.missing ?? [])
  return words.sequences.map(({ key, title }) => {
    const named = (form: RegExp) => files.find((entry) => form.exec(entry.name)?.[1] === key)?.name ?? null
    const file = named(VIEW)
    const mark = file === null ? 'missing' : absent.has(key) ? 'synthetic' : ''
    return { key, title, file, matchedFile: file && named(HARMONIZED), mark }
  })
}

/** The sequence to open with: where the tumour shows best among those there are. */
export const firstSequence = (
  choices: readonly SequenceChoice[],
  reference?: string | null,
): SequenceChoice | undefined =>
  ['t1c', reference, 't2f', 't2w', 't1n']
    .map((key) => choices.find((choice) => choice.key === key && choice.file !== null))
    .find((choice) => choice !== undefined)

/** What is shown first: the sequence and the version that were on screen before, where they are still there. */
export function firstShown(
  { sequences, sequence, matched, versions, version }: SceneState,
  reference?: string | null,
): { choice: SequenceChoice; picture: Picture; shown: SegmentationVersion } | null {
  const choice =
    sequences.value.find(({ key, file }) => key === sequence.value && file) ?? firstSequence(sequences.value, reference)
  const shown = versions.value.find((known) => known.version === version.value) ?? versions.value[0]
  const picture = choice && pictureOf(choice, matched.value)
  return choice && picture && shown ? { choice, picture, shown } : null
}

/** Names of the label surfaces by label key. */
export function meshFiles(files: readonly FileOut[]): Map<string, string> {
  const found = new Map<string, string>()
  for (const { name } of files) {
    const key = MESH.exec(name)?.[1]
    if (key) found.set(key, name)
  }
  return found
}

/** The model's mask and the user's versions of it, oldest first. */
export function maskVersions(
  files: readonly FileOut[],
  known: readonly SegmentationVersion[],
  result: CaseOut,
): SegmentationVersion[] {
  const own = files.find((entry) => entry.version === 0 && MASK.test(entry.name))
  const versions = [...known]
  if (own && !versions.some((entry) => entry.version === 0))
    versions.push({ version: 0, name: own.name, made_by: 'model', volumes_ml: result.volumes_ml })
  return versions.sort((one, other) => one.version - other.version)
}

export const modelMask = (files: readonly FileOut[]): string | null =>
  files.find((entry) => MODEL_MASK.test(entry.name))?.name ?? null

export const previewName = (files: readonly FileOut[]): string | null =>
  files.find((entry) => entry.name === 'preview.png')?.name ?? null
