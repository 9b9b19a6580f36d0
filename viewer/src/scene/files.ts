/** Which of a case's files is what, by the roles of the gateway's contract. Pure. */
import type { CaseOut, FileOut, Role, SegmentationVersion, Vocabulary } from '../api/types'
import { type Picture, pictureOf, type SceneState, type SequenceChoice } from './state'

const named = (files: readonly FileOut[], role: Role, sequence?: string): string | null =>
  files.find((entry) => entry.role === role && (!sequence || entry.sequence === sequence))?.name ?? null

/** One entry for every sequence that the platform knows, shown or not. */
export function sequenceChoices(files: readonly FileOut[], vocabulary: Vocabulary, result: CaseOut): SequenceChoice[] {
  const absent = new Set(result.missing ?? [])
  return vocabulary.sequences.map(({ key, title }) => {
    const file = named(files, 'view', key)
    const mark = file === null ? 'missing' : absent.has(key) ? 'synthetic' : ''
    return { key, title, file, matchedFile: file && named(files, 'harmonized-view', key), mark }
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
  for (const { name, role, label } of files) if (role === 'mesh' && label) found.set(label, name)
  return found
}

/** The model's mask and the user's versions of it, oldest first. */
export function maskVersions(
  files: readonly FileOut[],
  known: readonly SegmentationVersion[],
  result: CaseOut,
): SegmentationVersion[] {
  const own = files.find((entry) => entry.role === 'segmentation' && entry.space === 'native')
  const versions = [...known]
  if (own && !versions.some((entry) => entry.version === 0))
    versions.push({ version: 0, name: own.name, made_by: 'model', volumes_ml: result.volumes_ml })
  return versions.sort((one, other) => one.version - other.version)
}

export const modelMask = (files: readonly FileOut[]): string | null => named(files, 'model-segmentation')

/** The brain as the run found it, on the grid of the pictures. */
export const brainMask = (files: readonly FileOut[]): string | null => named(files, 'brain-view')

/** The map of where the model's answer is uncertain. */
export const uncertaintyMap = (files: readonly FileOut[]): FileOut | null =>
  files.find(({ role }) => role === 'uncertainty-view') ?? null

export const previewName = (files: readonly FileOut[]): string | null => named(files, 'picture')
