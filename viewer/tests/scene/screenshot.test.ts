import { expect, it } from 'vitest'
import type { PartProps } from '../../src/scene/panel'
import { captionOf, screenshotName } from '../../src/scene/screenshot'
import { SceneState } from '../../src/scene/state'

function scene(change: (state: SceneState) => void = () => {}, disclaimer = 'Not a medical device.') {
  const state = new SceneState()
  state.sequences.value = [{ key: 't2w', title: 'T2', file: 'x', matchedFile: 'y', mark: 'synthetic' }]
  state.sequence.value = 't2w'
  change(state)
  return { scene: { state }, vocabulary: { disclaimer } } as unknown as PartProps
}

it('always says what it is for', () => {
  expect(captionOf(scene())[0]).toContain('Research use only')
  expect(captionOf(scene(() => {}, 'Research use only. Not a medical device.'))[0]).toBe(
    'Research use only. Not a medical device.',
  )
})

it('says what is shown: a synthetic sequence, which mask, which side', () => {
  expect(captionOf(scene())[1]).toMatch(/T2 \(synthetic\), mask of the model\. Radiological/)
  const changed = captionOf(
    scene((state) => {
      state.version.value = 2
      state.edits.value = { made: 1, undoable: 1, saved: 0 }
      state.radiological.value = false
    }),
  )[1]
  expect(changed).toMatch(/corrected, version 2, with unsaved changes\. Neurological/)
})

it('says that brightness was matched', () => {
  const changed = captionOf(
    scene((state) => {
      state.matched.value = true
    }),
  )[1]
  expect(changed).toMatch(/T2 \(synthetic\) after brightness matching, mask/)
})

it('names the file after the view, not after the case', () => {
  expect(screenshotName('axial', 't1c')).toBe('hope-axial-t1c.png')
})
