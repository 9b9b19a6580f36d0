import { expect, it } from 'vitest'
import type { FileOut } from '../src/api/types'
import { quickLook } from '../src/app/quicklook'

const file = (name: string, role: FileOut['role'], version = 0): FileOut => ({
  ...{ name, role, version, kind: '', title: '', bytes: 1, sha256: '', audience: 'page' },
})

it('is of the mask that is current', () => {
  const files = [file('a', 'quick-look'), file('b', 'corrected-quick-look', 1), file('c', 'corrected-picture', 2)]
  expect(quickLook(files, 0)).toBe('a')
  expect(quickLook(files, 1)).toBe('b')
  // A correction of an earlier version of the platform has none, and the model's would show another mask.
  expect(quickLook(files, 2)).toBeNull()
})
