import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/scene/commands'
import { actionOf, digitOf, type KeyPress, RULES, typingIn } from '../../src/scene/keys'

const press = (key: string, more: Partial<KeyPress> = {}): KeyPress => ({
  key,
  code: /^[0-9]$/.test(key) ? `Digit${key}` : '',
  ctrl: false,
  shift: false,
  alt: false,
  ...more,
})

describe('keys', () => {
  it.each([
    ['h', 'hide-all'],
    ['3', 'label'],
    ['?', 'help'],
    ['Escape', 'leave'],
    ['0', 'zoom-reset'],
    ['+', 'zoom-in'],
  ])('%s means %s', (key, action) => {
    expect(actionOf(press(key), false)).toBe(action)
  })
  it('tells Shift from none', () => {
    expect(actionOf(press('T', { shift: true }), false)).toBe('previous-sequence')
    expect(actionOf(press('X', { shift: true }), false)).toBe('compare-brightness')
    expect(actionOf(press('x'), false)).toBe('compare')
    expect(actionOf(press('!', { shift: true, code: 'Digit1' }), false)).toBe('pen-label')
  })
  it('leaves the browser its own keys', () => {
    expect(actionOf(press('h', { ctrl: true }), true)).toBeNull()
    expect(actionOf(press('a', { ctrl: true }), true)).toBeNull()
    expect(actionOf(press('z', { ctrl: true }), true)).toBe('undo')
    expect(actionOf(press('Z', { ctrl: true, shift: true }), true)).toBe('redo')
    expect(actionOf(press('y', { ctrl: true }), true)).toBe('redo')
  })
  it('hears brackets behind AltGr', () => {
    expect(actionOf(press('[', { ctrl: true, alt: true }), false)).toBe('thinner')
  })
  it('takes arrows and the space bar only for the pictures', () => {
    for (const key of ['ArrowUp', 'PageDown', ' ']) {
      expect(actionOf(press(key), false)).toBeNull()
      expect(actionOf(press(key), true)).not.toBeNull()
    }
  })
  it('reads the digit where it is on the keyboard', () => {
    expect(digitOf(press('&', { code: 'Digit1' }))).toBe(1)
    expect(digitOf(press('4', { code: 'Numpad4' }))).toBe(4)
  })
  it('does something for every key that the help lists', () => {
    for (const { action } of RULES) expect(COMMANDS[action]).toBeTypeOf('function')
    expect(new Set(RULES.map(({ action }) => action))).toEqual(new Set(Object.keys(COMMANDS)))
  })
})

it('keeps quiet while the user types', () => {
  expect(typingIn({ tagName: 'INPUT' })).toBe(true)
  expect(typingIn({ tagName: 'DIV', isContentEditable: true })).toBe(true)
  expect(typingIn({ tagName: 'BUTTON' })).toBe(false)
  expect(typingIn(null)).toBe(false)
})
