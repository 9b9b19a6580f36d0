import { describe, expect, it } from 'vitest'
import type { FileOut } from '../src/api/types'
import { byVersion } from '../src/pages/downloads'

const file = (name: string, role: FileOut['role'], version = 0, space: FileOut['space'] = null): FileOut =>
  ({ name, role, version, space }) as FileOut

const files = [
  file('seg.nii.gz', 'segmentation', 0, 'native'),
  file('seg-atlas.nii.gz', 'segmentation', 0, 'atlas'),
  file('report.html', 'report'),
  file('t1c-view.nii.gz', 'view', 0, 'native'),
  file('seg-v1.nii.gz', 'corrected-segmentation', 1, 'native'),
  file('report-v1.html', 'corrected-report', 1),
  file('seg-v2.nii.gz', 'corrected-segmentation', 2, 'native'),
]
const names = (some: FileOut[]) => some.map(({ name }) => name)

describe('byVersion', () => {
  it('leaves the model’s files alone while nothing was corrected', () => {
    expect(byVersion(files.slice(0, 4), 0)).toEqual({ now: files.slice(0, 4), earlier: [] })
  })
  it('puts what the current correction replaces, and other corrections, aside', () => {
    const { now, earlier } = byVersion(files.slice(0, 6), 1)
    expect(names(now)).toEqual(['seg-atlas.nii.gz', 't1c-view.nii.gz', 'seg-v1.nii.gz', 'report-v1.html'])
    expect(names(earlier)).toEqual(['seg.nii.gz', 'report.html'])
  })
  it('keeps a report of the model current where the correction has none of its own', () => {
    const { now, earlier } = byVersion(files, 2)
    expect(names(now)).toContain('report.html')
    expect(names(earlier)).toEqual(['seg.nii.gz', 'seg-v1.nii.gz', 'report-v1.html'])
  })
})
