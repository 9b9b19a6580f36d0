import { afterEach, expect, it, vi } from 'vitest'
import { Problem } from '../src/api/errors'
import type { CaseOut } from '../src/api/types'
import { api, cases, noteLossOfEither } from '../src/app/state'

const at = (id: string): CaseOut => ({ id, series: [] }) as unknown as CaseOut
const gone = new Problem('gone', 'there is no such session or case, or it has been deleted', 404)
const ids = () => cases.value.map(({ id }) => id)

afterEach(() => vi.restoreAllMocks())

it('lets the one of two cases go that is gone', async () => {
  cases.value = [at('earlier'), at('later')]
  vi.spyOn(api, 'case').mockResolvedValue(at('later'))
  expect(await noteLossOfEither(gone, 'later', 'earlier')).toBe(true)
  expect(ids()).toEqual(['later'])

  cases.value = [at('earlier'), at('later')]
  vi.spyOn(api, 'case').mockRejectedValue(gone)
  expect(await noteLossOfEither(gone, 'later', 'earlier')).toBe(false)
  expect(ids()).toEqual(['earlier'])
})

it('throws what is no loss, and a loss of nobody', async () => {
  cases.value = [at('later')]
  const refused = new Problem('refused', 'no', 422)
  await expect(noteLossOfEither(refused, 'later', 'earlier')).rejects.toBe(refused)
  vi.spyOn(api, 'case').mockResolvedValue(at('later'))
  await expect(noteLossOfEither(gone, 'later', '')).rejects.toBe(gone)
  expect(ids()).toEqual(['later'])
})
