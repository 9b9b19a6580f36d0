import { useEffect, useRef } from 'preact/hooks'
import { QuickLook } from '../app/quicklook'
import type { SceneController } from './controller'
import { sides } from './geometry'
import { sidesInWords, TILES, type Tile, tilesOf } from './panel'

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

/** The canvas with the pictures, and the captions over it. */
export function Stage({ scene, quick }: { scene: SceneController; quick: string | null }) {
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
      {!state.ready.value && (
        <div class="scene-loading">
          <QuickLook url={quick} />
          <p role="status">{state.message.value}…</p>
        </div>
      )}
    </div>
  )
}
