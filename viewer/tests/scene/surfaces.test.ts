import { describe, expect, it } from 'vitest'
import type { Vocabulary } from '../../src/api/types'
import type { Source } from '../../src/scene/source'
import { SceneState } from '../../src/scene/state'
import { loadSurfaces, surfacesAreTrue } from '../../src/scene/surfaces'

const BYTES = new Uint8Array([1])
const LABELS = [1, 2, 4].map((value) => ({ value, name: `label ${value}`, rgb: [0, 0, 0] as [number, number, number] }))
const WORDS = {
  labels: [
    { key: 'ET', value: 1 },
    { key: 'NET', value: 2 },
    { key: 'ED', value: 4 },
  ],
} as Vocabulary

/** A source with the surfaces of some labels, and a mask, which is none. */
function sourceOf(keys: readonly string[]): Source {
  const surfaces = keys.map((label) => ({ name: `case-mesh-${label}.mz3`, role: 'mesh', label }))
  return {
    files: [{ name: 'seg.nii.gz', role: 'segmentation' }, ...surfaces],
    bytes: async () => BYTES,
  } as unknown as Source
}

describe('loadSurfaces', () => {
  it('fetches the surface of each label that has one, in the order of the labels', async () => {
    const added: number[] = []
    const source = sourceOf(['ED', 'ET'])
    await loadSurfaces(source, WORDS, LABELS, new AbortController().signal, async ({ value }) => {
      added.push(value)
    })
    expect(added).toEqual([1, 4])
  })

  it('adds nothing more once it is stopped', async () => {
    const [added, stop]: [number[], AbortController] = [[], new AbortController()]
    const source = sourceOf(['ET', 'ED'])
    await loadSurfaces(source, WORDS, LABELS, stop.signal, async ({ value }) => {
      added.push(value)
      stop.abort()
    })
    expect(added).toEqual([1])
  })
})

describe('surfacesAreTrue', () => {
  it('holds for the model answer alone: no other version, no comparison, no strokes', () => {
    const state = new SceneState()
    state.version.value = 0
    expect(surfacesAreTrue(state)).toBe(true)
    state.before.value = true
    expect(surfacesAreTrue(state)).toBe(false)
    state.before.value = false
    state.version.value = 1
    expect(surfacesAreTrue(state)).toBe(false)
    state.version.value = 0
    state.edits.value = { ...state.edits.value, made: 1 }
    expect(surfacesAreTrue(state)).toBe(false)
    state.edits.value = { ...state.edits.value, made: 0, saved: 1 }
    expect(surfacesAreTrue(state)).toBe(false)
  })
})
