import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { QuickLook } from '../app/quicklook'
import { DiameterEnds, linesShown } from './DiameterEnds'
import { drawLines } from './diameters'
import { sides } from './geometry'
import { cellsOf, drawOverlay, overlayWords } from './overlay'
import { type PartProps, sidesInWords, TILES, type Tile, tilesOf } from './panel'
import { SideBySide } from './SideBySide'

/** The letters of the patient's sides on the four sides of a picture. */
function Letters({ tile, radiological }: { tile: Tile; radiological: boolean }) {
  if (tile.view === '3d') return null
  const shown = sides(tile.view, radiological)
  return (
    <div class="scene-letters" aria-hidden="true" data-letters={tile.view}>
      {(['left', 'right', 'top', 'bottom'] as const).map((side) => (
        <span key={side} data-side={side}>
          {shown[side]}
        </span>
      ))}
    </div>
  )
}

/** Crosshair, scale bars and captions over the pictures, drawn after them. */
function Overlay({
  scene,
  result,
  canvas,
}: Omit<PartProps, 'vocabulary'> & { canvas: { current: HTMLCanvasElement | null } }) {
  const over = useRef<HTMLCanvasElement>(null)
  const [places, setPlaces] = useState('')
  const { state } = scene
  useSignalEffect(() => {
    if (state.drawn.value === 0 || !state.ready.value) return
    const [under, shown] = [canvas.current, over.current]
    const brush = shown?.getContext('2d')
    if (!under || !shown || !brush) return
    const words = overlayWords(state, result)
    shown.width = under.width
    shown.height = under.height
    const all = scene.places()
    const cells = cellsOf(state.view.peek() !== 'multi', shown.width, shown.height)
    const one = under.width / Math.max(1, under.clientWidth)
    drawOverlay(brush, all, words, one, cells)
    const lines = state.lines.value
    if (lines) drawLines(brush, linesShown(scene), lines.words, one)
    setPlaces(all.map(({ plane, cross }) => `${plane}:${cross.map((at) => (at / one).toFixed(1)).join(',')}`).join(' '))
  })
  const words = overlayWords(state, result)
  return (
    <canvas
      ref={over}
      class="scene-overlay"
      data-places={places}
      data-sequence-text={words.sequence}
      data-slice-text={words.slice[state.plane.value]}
    />
  )
}

/** The canvas with the pictures, and the captions over it. */
export function Stage({ scene, result, quick }: Omit<PartProps, 'vocabulary'> & { quick: string | null }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const { state } = scene
  const view = state.view.value
  useEffect(() => {
    if (canvas.current) void scene.open(canvas.current)
  }, [scene])
  const maximiseAt = (event: MouseEvent) => {
    if (state.drawing.value || !canvas.current) return
    if (view !== 'multi') return scene.setView('multi')
    const box = canvas.current.getBoundingClientRect()
    const right = event.clientX - box.left > box.width / 2
    const below = event.clientY - box.top > box.height / 2
    const tile = TILES[(below ? 2 : 0) + (right ? 1 : 0)]
    if (tile) scene.setView(tile.view)
  }
  return (
    <div class="scene-stage" data-cursor={state.mode.value} aria-busy={!state.ready.value}>
      {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: the pictures take arrow keys and gestures of their own */}
      <canvas
        ref={canvas}
        class="scene-canvas"
        tabIndex={0}
        role="application"
        aria-label={`Pictures of the scan. ${sidesInWords(state.radiological.value)}. Arrow keys move the crosshair, question mark lists all keys.`}
        onDblClick={maximiseAt}
      />
      {state.ready.value && <Overlay scene={scene} result={result} canvas={canvas} />}
      {state.ready.value && (
        <div class={view === 'multi' ? 'scene-tiles' : 'scene-tiles scene-alone'}>
          {tilesOf(view).map((tile) => (
            <div key={tile.view} class="scene-tile">
              <Letters tile={tile} radiological={state.radiological.value} />
              <button
                type="button"
                class="scene-maximise"
                aria-label={`${tile.name}, ${view === 'multi' ? 'show alone' : 'back to all four'}`}
                title={view === 'multi' ? 'Show alone' : 'Back to all four'}
                onClick={() => scene.setView(tile.view)}
              >
                {tile.name}
                <span aria-hidden="true">{view === 'multi' ? ' ⤢' : ' ⤡'}</span>
              </button>
            </div>
          ))}
        </div>
      )}
      {state.ready.value && <DiameterEnds scene={scene} canvas={canvas} />}
      {state.ready.value && state.sideBySide.value && <SideBySide scene={scene} />}
      {!state.ready.value && (
        <div class="scene-loading">
          <QuickLook url={quick} />
          <p role="status">{state.message.value}…</p>
        </div>
      )}
    </div>
  )
}
