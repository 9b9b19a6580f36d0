import { describe, expect, it } from 'vitest'
import type { CaseOut, FileOut, Role, Vocabulary } from '../../src/api/types'
import { firstSequence, maskVersions, meshFiles, modelMask, sequenceChoices } from '../../src/scene/files'

const file = (name: string, role: Role, more: Partial<FileOut> = {}): FileOut => ({
  ...{ name, role, kind: '', title: '', bytes: 1, sha256: '', version: 0 },
  ...more,
})
const vocabulary = {
  sequences: (['t1n', 't1c', 't2w', 't2f'] as const).map((key) => ({ key, title: key, optional: false, hint: '' })),
} as unknown as Vocabulary
const result = { missing: ['t2w'], volumes_ml: { ET: 1 } } as unknown as CaseOut
const FILES = [
  file('a', 'view', { sequence: 't1c' }),
  file('b', 'image', { sequence: 't1c', space: 'atlas' }),
  file('c', 'view', { sequence: 't2w' }),
  file('d', 'harmonized-view', { sequence: 't2f' }),
  file('e', 'view', { sequence: 't2f' }),
  file('f', 'segmentation', { space: 'atlas' }),
  file('g', 'segmentation', { space: 'native' }),
  file('h', 'model-segmentation', { space: 'native' }),
  file('i', 'mesh', { label: 'ET' }),
]

describe('files of a case', () => {
  it('marks what is missing and what stands in for it', () => {
    const choices = sequenceChoices(FILES, vocabulary, result)
    expect(choices.map(({ key, mark }) => `${key} ${mark}`)).toEqual(['t1n missing', 't1c ', 't2w synthetic', 't2f '])
    expect(choices[0]?.file).toBeNull()
  })
  it('tells the scan from what brightness matching made of it', () => {
    const choices = sequenceChoices(FILES, vocabulary, result)
    expect(choices.map(({ file }) => file)).toEqual([null, 'a', 'c', 'e'])
    expect(choices.map(({ matchedFile }) => matchedFile)).toEqual([null, null, null, 'd'])
  })
  it('opens with t1c, or else with what there is', () => {
    expect(firstSequence(sequenceChoices(FILES, vocabulary, result))?.key).toBe('t1c')
    const without = FILES.filter(({ name }) => name !== 'a')
    expect(firstSequence(sequenceChoices(without, vocabulary, result), 't2w')?.key).toBe('t2w')
    expect(firstSequence(sequenceChoices([], vocabulary, result))).toBeUndefined()
  })
  it('knows masks from one another', () => {
    expect(modelMask(FILES)).toBe('h')
    expect(maskVersions(FILES, [], result).map(({ name }) => name)).toEqual(['g'])
    const own = { version: 1, name: 'case-abc-seg-v1.nii.gz', made_by: 'user' as const, volumes_ml: {} }
    expect(maskVersions(FILES, [own], result).map(({ version }) => version)).toEqual([0, 1])
  })
  it('finds surfaces by label', () => {
    expect([...meshFiles(FILES)]).toEqual([['ET', 'i']])
  })
})
