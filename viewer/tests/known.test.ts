import { expect, it } from 'vitest'
import { keptOf, readTable } from '../src/app/kept'
import { keepEnd, keptEnd, lossSentence } from '../src/app/known'
import { ask, questionOf } from '../src/app/questions'
import { isSent } from '../src/app/sent'

function store(): Storage {
  const kept = new Map<string, string>()
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  } as unknown as Storage
}

it('tells a lost cookie from a session that has ended, and nothing to whom never had one', () => {
  expect(lossSentence(false, null, 100)).toBe('')
  expect(lossSentence(true, null, 100)).toBe('')
  expect(lossSentence(true, 500, 100)).toMatch(/has ended/)
  expect(lossSentence(false, 50, 100)).toMatch(/has ended/)
  expect(lossSentence(false, 500, 100)).toMatch(/no longer has the key .* deleted on .*1970/)
})

it('keeps when a session ends, and forgets it', () => {
  const kept = store()
  expect(keptEnd(kept)).toBeNull()
  keepEnd(1234.5, kept)
  expect(keptEnd(kept)).toBe(1234.5)
  keepEnd(null, kept)
  expect(keptEnd(kept)).toBeNull()
  expect(keptEnd(null)).toBeNull()
})

it('takes names of files from the tab only in the form that it wrote, and of cases that are there', () => {
  const sent = { name: 'a.nii.gz', bytes: 5 }
  expect(readTable(JSON.stringify({ 'one:x': sent, 'two:y': 'a' }), isSent)).toEqual({ 'one:x': sent })
  for (const text of [null, '', 'no json', '[]', '7', 'null']) expect(readTable(text, isSent)).toEqual({})
  expect(keptOf({ 'one:x': sent, 'two:y': sent }, new Set(['two']))).toEqual({ 'two:y': sent })
  expect(keptOf({ one: 'a', two: 'b' }, new Set(['two']))).toEqual({ two: 'b' })
})

it('asks what a study left open until that is answered', () => {
  ask('one', 'which is t1c?')
  ask('two', 'was contrast given?')
  expect(questionOf('one')).toBe('which is t1c?')
  ask('one', '')
  expect(questionOf('one')).toBe('')
  expect(questionOf('two')).toBe('was contrast given?')
})
