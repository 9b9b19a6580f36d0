import { describe, expect, it } from 'vitest'
import type { CaseOut } from '../../src/api/types'
import { matchingText } from '../../src/scene/panel'
import { pictureOf, SceneState, type SequenceChoice } from '../../src/scene/state'

const T2: SequenceChoice = { key: 't2w', title: 'T2', file: 'scan', matchedFile: 'after', mark: '' }
const T1C: SequenceChoice = { key: 't1c', title: 'T1 with contrast', file: 'scan', matchedFile: null, mark: '' }
const result = {
  harmonization: {
    asked: 'histogram',
    sequences: { t2w: { changed: true }, t1c: { changed: false, reason: 'its edges changed' } },
  },
} as unknown as CaseOut

describe('brightness matching', () => {
  it('offers a picture before and after where it changed something', () => {
    expect(pictureOf(T2, true)).toEqual({ key: 't2w-harmonized', file: 'after' })
    expect(pictureOf(T2, false)).toEqual({ key: 't2w', file: 'scan' })
    expect(pictureOf(T1C, true)).toEqual({ key: 't1c', file: 'scan' })
    expect(pictureOf({ ...T1C, file: null }, false)).toBeNull()
  })
  it('is remembered through a sequence that it left as it was', () => {
    const state = new SceneState()
    state.sequences.value = [T1C, T2]
    state.sequence.value = 't2w'
    state.matched.value = true
    expect([state.canMatch.value, state.matchedShown.value]).toEqual([true, true])
    state.sequence.value = 't1c'
    expect([state.canMatch.value, state.matchedShown.value]).toEqual([true, false])
    state.sequences.value = [T1C]
    expect(state.canMatch.value).toBe(false)
  })
  it('says what the model saw, and why a sequence stayed as it was', () => {
    expect(matchingText(result, T2, true)).toMatch(/^After .*histogram.*as the model saw it.*brain only\.$/)
    expect(matchingText(result, T2, false)).toMatch(/^Before .*as it came\. The model saw the picture after it/)
    expect(matchingText(result, T1C, false)).toMatch(/passed T1 with contrast on unchanged.* Its edges changed\.$/)
    expect(matchingText({} as CaseOut, T1C, false)).toMatch(/unchanged, so the model saw the original\.$/)
  })
})
