import { describe, expect, it } from 'vitest'
import type { CaseOut, Vocabulary } from '../src/api/types'
import { casesCsv } from '../src/app/table'

const vocabulary = {
  labels: [{ key: 'ET', name: 'Enhancing tumour', value: 1, colour: '#D55E00' }],
  regions: [{ key: 'WT', name: 'Whole tumour', labels: [1] }],
  states: { done: 'Done', new: 'New' },
} as unknown as Vocabulary
const found = (more: Partial<CaseOut>): CaseOut =>
  ({ number: 3, label: '', state: 'done', created_at: 0, version: 0, volumes_ml: {}, qc: [], ...more }) as CaseOut

describe('casesCsv', () => {
  it('has one row for each case, with volumes of results only', () => {
    const made = casesCsv([found({ volumes_ml: { WT: { ml: 2.5 } } }), found({ state: 'new', number: 4 })], vocabulary)
    expect(made.split('\r\n')).toEqual([
      'case,begun,state,version,ET_ml,WT_ml,expected_quality,worst_remark',
      'Case 3,1970-01-01T00:00:00.000Z,Done,0,0,2.5,,',
      'Case 4,1970-01-01T00:00:00.000Z,New,0,,,,',
      '',
    ])
  })
  it.each([
    ['=1+2', "'=1+2"],
    ['+cmd', "'+cmd"],
    ['-2', "'-2"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'],
    ['a, b', '"a, b"'],
  ])('writes the name %s as text', (label, cell) => {
    expect(
      casesCsv([found({ label })], vocabulary)
        .split('\r\n')[1]
        ?.startsWith(`${cell},`),
    ).toBe(true)
  })
})
