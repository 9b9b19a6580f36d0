import { describe, expect, it } from 'vitest'
import {
  ALL_SEEN,
  afterRedo,
  afterSave,
  afterStroke,
  afterUndo,
  NO_EDITS,
  next,
  SceneState,
  seen,
  toggled,
  toggledAll,
  UNDO_DEPTH,
  unsaved,
  volumesFromCounts,
} from '../../src/scene/state'

const LABELS = [1, 2, 3, 4]

describe('unsaved changes', () => {
  it('begin with a stroke and end when it is taken back', () => {
    const once = afterStroke(NO_EDITS)
    expect([unsaved(NO_EDITS), unsaved(once), unsaved(afterUndo(once))]).toEqual([false, true, false])
  })
  it('end with saving, and undoing past it is a change again', () => {
    const saved = afterSave(afterStroke(afterStroke(NO_EDITS)))
    expect(unsaved(saved)).toBe(false)
    expect(unsaved(afterUndo(saved))).toBe(true)
  })
  it('never end by coincidence: another stroke after undoing past the saved one', () => {
    const saved = afterSave(afterStroke(NO_EDITS))
    const elsewhere = afterStroke(afterUndo(saved))
    expect(elsewhere.made).toBe(saved.made)
    expect(unsaved(elsewhere)).toBe(true)
  })
  it('come again with redo, until another stroke takes the place of what was taken back', () => {
    const saved = afterSave(afterStroke(NO_EDITS))
    const back = afterUndo(saved)
    expect([back.redoable, unsaved(back), unsaved(afterRedo(back))]).toEqual([1, true, false])
    expect(afterRedo(back)).toEqual(saved)
    expect(afterRedo(saved)).toBe(saved)
    expect(afterStroke(back).redoable).toBe(0)
  })
  it('can be taken back only so far', () => {
    let edits = NO_EDITS
    for (let stroke = 0; stroke < UNDO_DEPTH + 5; stroke++) edits = afterStroke(edits)
    for (let undo = 0; undo < UNDO_DEPTH + 5; undo++) edits = afterUndo(edits)
    expect(edits.undoable).toBe(0)
    expect(unsaved(edits)).toBe(true)
  })
  it('are what the state tells', () => {
    const state = new SceneState()
    expect(state.unsaved.value).toBe(false)
    state.edits.value = afterStroke(state.edits.value)
    expect(state.unsaved.value).toBe(true)
  })
})

describe('eyes', () => {
  const shown = (eyes: typeof ALL_SEEN) => LABELS.filter((label) => seen(eyes, label))
  it('close and open one by one', () => {
    const closed = toggled(ALL_SEEN, 2, LABELS)
    expect(shown(closed)).toEqual([1, 3, 4])
    expect(shown(toggled(closed, 2, LABELS))).toEqual(LABELS)
  })
  it('come back as they were after hiding all', () => {
    const hidden = toggledAll(toggled(ALL_SEEN, 3, LABELS), LABELS)
    expect(shown(hidden)).toEqual([])
    expect(shown(toggledAll(hidden, LABELS))).toEqual([1, 2, 4])
  })
  it('show one label alone when all are hidden', () => {
    expect(shown(toggled(toggledAll(ALL_SEEN, LABELS), 4, LABELS))).toEqual([4])
  })
  it('open all when each was closed by itself', () => {
    const none = LABELS.reduce((eyes, label) => toggled(eyes, label, LABELS), ALL_SEEN)
    expect(shown(none)).toEqual([])
    expect(shown(toggledAll(none, LABELS))).toEqual(LABELS)
  })
  it('never change what they were given', () => {
    toggled(ALL_SEEN, 1, LABELS)
    expect(ALL_SEEN.closed.size).toBe(0)
  })
})

it('counts volumes with their composites', () => {
  const labels = [
    { value: 1, key: 'ET' },
    { value: 2, key: 'NET' },
    { value: 4, key: 'ED' },
  ]
  const regions = [
    { key: 'ET', labels: [1] },
    { key: 'TC', labels: [1, 2] },
    { key: 'WT', labels: ['ET', 'NET', 'ED'] },
  ]
  const volumes = volumesFromCounts([0, 10, 20, 0, 40], 0.5, labels, regions)
  expect(volumes).toEqual({ ET: 5, NET: 10, ED: 20, TC: 15, WT: 35 })
})

it('goes round', () => {
  expect(next(['a', 'b', 'c'], 'c')).toBe('a')
  expect(next(['a', 'b', 'c'], 'a', -1)).toBe('c')
})

it('acts in a picture only while it may be changed', () => {
  const state = new SceneState()
  state.mode.value = 'draw'
  expect(state.drawing.value).toBe(true)
  state.before.value = true
  expect(state.drawing.value).toBe(false)
})
