import { describe, expect, it } from 'vitest'
import type { CaseOut, FileOut, Words } from '../../src/api/types'
import { firstSequence, maskVersions, meshFiles, modelMask, sequenceChoices } from '../../src/scene/files'

const file = (name: string, version = 0): FileOut => ({ name, kind: '', bytes: 1, sha256: '', version })
const words = {
  sequences: (['t1n', 't1c', 't2w', 't2f'] as const).map((key) => ({ key, title: key, optional: false, hint: '' })),
} as unknown as Words
const result = { missing: ['t2w'], volumes_ml: { ET: 1 } } as unknown as CaseOut
const FILES = [
  'case-abc-t1c-view.nii.gz',
  'case-abc-t1c-atlas.nii.gz',
  'case-abc-t2w-view.nii.gz',
  'case-abc-t2f-harmonized-view.nii.gz',
  'case-abc-t2f-view.nii.gz',
  'case-abc-seg.nii.gz',
  'case-abc-seg-atlas.nii.gz',
  'case-abc-seg-model.nii.gz',
  'case-abc-mesh-ET.mz3',
].map((name) => file(name))

describe('files of a case', () => {
  it('marks what is missing and what stands in for it', () => {
    const choices = sequenceChoices(FILES, words, result)
    expect(choices.map(({ key, mark }) => `${key} ${mark}`)).toEqual(['t1n missing', 't1c ', 't2w synthetic', 't2f '])
    expect(choices[0]?.file).toBeNull()
  })
  it('tells the scan from what brightness matching made of it', () => {
    const choices = sequenceChoices(FILES, words, result)
    expect(choices.map(({ file }) => file)).toEqual([
      null,
      'case-abc-t1c-view.nii.gz',
      'case-abc-t2w-view.nii.gz',
      'case-abc-t2f-view.nii.gz',
    ])
    expect(choices.map(({ matchedFile }) => matchedFile)).toEqual([
      null,
      null,
      null,
      'case-abc-t2f-harmonized-view.nii.gz',
    ])
  })
  it('opens with t1c, or else with what there is', () => {
    expect(firstSequence(sequenceChoices(FILES, words, result))?.key).toBe('t1c')
    const without = FILES.filter(({ name }) => !name.includes('t1c-view'))
    expect(firstSequence(sequenceChoices(without, words, result), 't2w')?.key).toBe('t2w')
    expect(firstSequence(sequenceChoices([], words, result))).toBeUndefined()
  })
  it('knows masks from one another', () => {
    expect(modelMask(FILES)).toBe('case-abc-seg-model.nii.gz')
    expect(maskVersions(FILES, [], result).map(({ name }) => name)).toEqual(['case-abc-seg.nii.gz'])
    const own = { version: 1, name: 'case-abc-seg-v1.nii.gz', made_by: 'user' as const, volumes_ml: {} }
    expect(maskVersions(FILES, [own], result).map(({ version }) => version)).toEqual([0, 1])
  })
  it('finds surfaces by label', () => {
    expect([...meshFiles(FILES)]).toEqual([['ET', 'case-abc-mesh-ET.mz3']])
  })
})
