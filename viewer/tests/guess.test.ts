import { describe, expect, it } from 'vitest'
import names from '../../tests/unit/contract/sequence_names.json'
import type { SequenceKey } from '../src/api/types'
import { guessAll, guessSlot } from '../src/app/guess'

describe('guessSlot', () => {
  it.each([
    ['BraTS-PED-00001-000-t1c.nii.gz', 't1c'],
    ['BraTS-PED-00001-000-t1n.nii.gz', 't1n'],
    ['BraTS-PED-00001-000-t2w.nii.gz', 't2w'],
    ['BraTS-PED-00001-000-t2f.nii.gz', 't2f'],
    ['BraTS2021_00000_t1ce.nii.gz', 't1c'],
    ['BraTS2021_00000_t1.nii.gz', 't1n'],
    ['BraTS2021_00000_flair.nii.gz', 't2f'],
    ['sub-01_ce-gad_T1w.nii.gz', 't1c'],
    ['sub-01_ce-none_T1w.nii.gz', 't1n'],
    ['sub-01_T1w.nii', 't1n'],
    ['sub-01_FLAIR.nii', 't2f'],
    ['T2_FLAIR.nii.gz', 't2f'],
    ['t1 post contrast.nii', 't1c'],
    ['T1_pre_contrast.nii', 't1n'],
    ['T2.NII.GZ', 't2w'],
    ['examination.zip', 'dicom'],
  ])('%s -> %s', (name, slot) => {
    expect(guessSlot(name).slot).toBe(slot)
  })

  it.each([
    'scan.nii.gz',
    't1c-seg.nii.gz',
    'IM0001.dcm',
    'notes.txt',
    't1.docx',
    't1c_t2w.nii.gz',
    'mat1.nii',
    'x_flair_pred.nii',
  ])('leaves %s to the user and says why', (name) => {
    const guess = guessSlot(name)
    expect(guess.slot).toBeNull()
    expect('why' in guess && guess.why.length).toBeGreaterThan(10)
  })
})

describe('the names that the command line is tested with', () => {
  it.each(names.map(({ name, slot }) => [name, slot] as const))('%s -> %s', (name, slot) => {
    expect(guessSlot(name).slot).toBe(slot)
  })
})

describe('guessAll', () => {
  it('takes a mere t1 as native only beside a T1 with contrast', () => {
    const of = (list: string[], filled: SequenceKey[] = []) =>
      guessAll(
        list.map((name) => new File(['x'], name)),
        filled,
      ).map(({ guess }) => guess.slot)
    expect(of(['a_t1w.nii', 'a_t2.nii'])).toEqual([null, 't2w'])
    expect(of(['a_t1w.nii', 'a_t1ce.nii'])).toEqual(['t1n', 't1c'])
    expect(of(['a_t1.nii'], ['t1c'])).toEqual(['t1n'])
    expect(of(['BraTS2021_00000_t1.nii', 'sub-01_T2w.nii'])).toEqual(['t1n', 't2w'])
    expect(of(['sub-01_T1w.nii'])).toEqual(['t1n'])
  })

  it('gives a slot that two files claim to neither', () => {
    const files = ['a-t1c.nii', 'b-t1ce.nii', 'c-t2w.nii'].map((name) => new File(['x'], name))
    expect(guessAll(files).map(({ guess }) => guess.slot)).toEqual([null, null, 't2w'])
  })
})
