import { expect, it } from 'vitest'
import type { CaseOut } from '../src/api/types'
import { type Checked, checked } from '../src/app/checks'
import { cases } from '../src/app/state'

const at = (id: string): CaseOut => ({ id, series: [] }) as unknown as CaseOut

it('lets the pictures of a case go with it', () => {
  const known: Checked = { scans: '', state: 'done', problem: '', remarks: [], thumbnails: { t1c: 'UklGRg==' } }
  cases.value = [at('a'), at('b')]
  checked.value = { a: known, b: known }
  cases.value = [at('b')]
  expect(Object.keys(checked.value)).toEqual(['b'])
})
