import { beforeEach, expect, it } from 'vitest'
import { forget, linesKept, put, putLines, remember, take } from '../src/app/stash'

const drawing = { labels: Uint8Array.from([1, 2]), version: 1 }

beforeEach(() => {
  for (const caseId of ['case-a', 'case-b', 'case-ab']) {
    forget(caseId)
    remember(caseId)
  }
})

it('gives a drawing back once, and to its own case only', () => {
  put('case-a', 1, drawing)
  expect(take('case-b', 1)).toBeNull()
  expect(take('case-a', 1)).toBe(drawing)
  expect(take('case-a', 1)).toBeNull()
})

it('gives up drawings of an earlier run', () => {
  put('case-a', 1, drawing)
  expect(take('case-a', 2)).toBeNull()
  expect(take('case-a', 1)).toBeNull()
})

it('forgets deleted cases, and no others', () => {
  put('case-a', 1, drawing)
  put('case-ab', 1, drawing)
  forget('case-a')
  expect(take('case-a', 1)).toBeNull()
  expect(take('case-ab', 1)).toBe(drawing)
})

it('takes nothing from the panel of a deleted case, which closes after the deletion', () => {
  forget('case-a')
  put('case-a', 1, drawing)
  expect(take('case-a', 1)).toBeNull()
})

it('keeps drawings of a case that is there again', () => {
  forget('case-a')
  remember('case-a')
  put('case-a', 1, drawing)
  expect(take('case-a', 1)).toBe(drawing)
})

it('keeps moved diameters of one mask of a case until it is deleted', () => {
  const moved = new Map([['1 axial long', 1]])
  putLines('case-a', '1 result.json', moved)
  expect(linesKept('case-a', '1 result.json')).toBe(moved)
  expect(linesKept('case-a', '1 result-v1.json')).toBeUndefined()
  expect(take('case-a', 1)).toBeNull()
  expect(linesKept('case-a', '1 result.json')).toBe(moved)
  expect(linesKept('case-a', '2 result.json')).toBeUndefined()
  expect(linesKept('case-a', '1 result.json')).toBeUndefined() // a later run was looked at
  putLines('case-a', '1 result-v1.json', moved)
  expect(linesKept('case-a', '1 result.json')).toBeUndefined()
  forget('case-a')
  expect(linesKept('case-a', '1 result-v1.json')).toBeUndefined()
  putLines('case-a', '1 result-v1.json', moved)
  expect(linesKept('case-a', '1 result-v1.json')).toBeUndefined()
})
