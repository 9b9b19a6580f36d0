import { expect, it } from 'vitest'
import type { PartProps } from '../../src/scene/panel'
import { captionOf, legendOf, placeOf, screenshotName } from '../../src/scene/screenshot'
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
      state.edits.value = { made: 1, undoable: 1, redoable: 0, saved: 0 }
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

it('shows the parts that are seen with their volumes, and where the crosshair is', () => {
  const props = scene((state) => {
    state.counts.value = Object.assign(new Uint32Array(256), { 1: 5, 2: 7 })
    state.eyes.value = { closed: new Set([2]), allHidden: false }
    state.versions.value = [
      { version: 0, name: 'x', made_by: 'model', volumes_ml: { ET: { ml: 1.25 }, NET: { ml: 3 } } },
    ]
    state.cursor.value = { mm: [-3.21, 4, 5.06], voxel: [0, 0, 0], intensity: 0, label: 0 }
  })
  const labels = [
    { value: 1, key: 'ET', name: 'a', colour: '#D55E00' },
    { value: 2, key: 'NET', name: 'b', colour: '#0072B2' },
    { value: 3, key: 'CC', name: 'c', colour: '#009E73' },
  ]
  const whole = { ...props, vocabulary: { labels, regions: [] }, scene: { ...props.scene, voxelMl: () => 0.001 } }
  expect(legendOf(whole as unknown as PartProps)).toEqual([{ colour: '#D55E00', text: 'ET 1.25 ml' }])
  expect(placeOf(props.scene.state)).toContain('x −3.2, y 4.0, z 5.1 mm')
})
