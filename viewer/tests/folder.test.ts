import { describe, expect, it } from 'vitest'
import { caseFolder, casesOf, filesBelow, filesChosen, labelOfFolder } from '../src/app/folder'

const found = (path: string) => ({ path, file: new File(['x'], path.split('/').at(-1) ?? '') })
const said = (paths: string[]) =>
  casesOf(paths.map(found)).map(
    ({ name, scans, left }) => `${name}: ${scans.map(({ slot }) => slot).join(' ')} (${left.length})`,
  )

describe('casesOf', () => {
  it('takes each subject and session of a BIDS tree for a case, and no derivatives or other scans', () => {
    expect(
      said([
        'study/sub-10/anat/sub-10_T1w.nii.gz',
        'study/sub-2/ses-1/anat/sub-2_ses-1_FLAIR.nii.gz',
        'study/sub-2/ses-1/anat/sub-2_ses-1_ce-gad_T1w.nii.gz',
        'study/sub-2/ses-1/dwi/sub-2_ses-1_dwi.nii.gz',
        'study/sub-2/ses-2/anat/sub-2_ses-2_T2w.nii.gz',
        'study/derivatives/x/sub-2/anat/sub-2_T2w.nii.gz',
        'study/participants.tsv',
      ]),
    ).toEqual(['sub-2/ses-1: t1c t2f (0)', 'sub-2/ses-2: t2w (0)', 'sub-10: t1n (0)'])
  })
  it('takes each folder with scans for a case, in the order of numbers', () => {
    expect(
      said([
        'all/BraTS-PED-00010-000/BraTS-PED-00010-000-t1c.nii.gz',
        'all/BraTS-PED-00002-000/BraTS-PED-00002-000-t1c.nii.gz',
        'all/BraTS-PED-00002-000/BraTS-PED-00002-000-seg.nii.gz',
        'all/letters/note.txt',
        'all/masks/seg.nii.gz',
      ]),
    ).toEqual(['all/BraTS-PED-00002-000: t1c (1)', 'all/BraTS-PED-00010-000: t1c (0)'])
  })
  it('leaves two files that claim one sequence out', () => {
    expect(said(['a/one_flair.nii.gz', 'a/two_flair.nii.gz', 'a/t2.nii.gz'])).toEqual(['a: t2w (2)'])
  })
})

it('names a case after its folder', () => {
  expect(caseFolder('t1.nii')).toBe('')
  expect(labelOfFolder('study/case 7')).toBe('case 7')
  expect(labelOfFolder('sub-2/ses-1')).toBe('sub-2 ses-1')
  expect(labelOfFolder('x'.repeat(99))).toHaveLength(80)
})

it('reads dropped folders to their ends, a hundred entries at a time', async () => {
  const file = (name: string) => ({
    isFile: true,
    fullPath: `/top/${name}`,
    file: (done: (made: File) => void) => done(new File(['x'], name)),
  })
  const parts = [Array.from({ length: 100 }, (_, at) => file(`${at}.nii`)), [file('last.nii')], []]
  const folder = {
    isFile: false,
    createReader: () => ({ readEntries: (done: (some: unknown) => void) => done(parts.shift()) }),
  }
  const all = await filesBelow([folder] as unknown as FileSystemEntry[])
  expect(all).toHaveLength(101)
  expect(all.at(-1)?.path).toBe('top/last.nii')
  expect(filesChosen([new File(['x'], 'a.nii')])[0]?.path).toBe('a.nii')
})
