/** The ends of the diameters over the pictures: to drag, or to choose and move with the arrow keys. */
import { useSignalEffect } from '@preact/signals'
import { useRef, useState } from 'preact/hooks'
import { type DiameterLine, lengthMm } from '../app/diameterlines'
import type { SceneController } from './controller'
import { type LineOnTile, linesOn, movedTo, nudged, type Spot } from './diameters'

/** The lines on the slices on screen; none while the pictures are used for something else. */
export function linesShown(scene: SceneController): LineOnTile[] {
  const { state, linked } = scene
  const lines = state.lines.value
  const lie = linked.lie()
  const cursor = state.cursor.value
  if (!lines || !lie || !cursor || state.sideBySide.value) return []
  return linesOn(lines, scene.places(), lie, cursor.voxel)
}

const ENDS = [0, 1] as const

function nameOf({ lesion, kind }: DiameterLine, end: number, text: string): string {
  return `Lesion ${lesion}, ${kind === 'long' ? 'first' : 'second'} line, end ${end + 1}. ${text}. Arrow keys move it.`
}

interface Hold {
  pointer: number
  /** The line and the end that it holds. */
  key: string
  /** From the pointer to the end. */
  off: Spot
}

export function DiameterEnds({
  scene,
  canvas,
}: {
  scene: SceneController
  canvas: { current: HTMLCanvasElement | null }
}) {
  const { state } = scene
  const [found, setFound] = useState<readonly LineOnTile[]>([])
  const [said, say] = useState('')
  const hold = useRef<Hold | null>(null)
  useSignalEffect(() => {
    void state.drawn.value
    const next = state.mode.value === 'look' ? linesShown(scene) : []
    setFound((before) => (before.length || next.length ? next : before))
  })
  const lines = state.lines.value
  const lie = scene.linked.lie()
  const under = canvas.current
  if (!lines || !lie || !under || !found.length) return null
  const one = under.width / Math.max(1, under.clientWidth)
  const move = (on: LineOnTile, end: 0 | 1, spot: Spot) => {
    const ends = [...on.line.ends] as [(typeof on.line.ends)[0], (typeof on.line.ends)[1]]
    ends[end] = movedTo(on, end, spot, lie)
    lines.move(on.line.key, ends)
  }
  const spotUnder = (event: PointerEvent): Spot => {
    const box = under.getBoundingClientRect()
    return [(event.clientX - box.left) * one, (event.clientY - box.top) * one]
  }
  return (
    <>
      {found.flatMap((on) =>
        ENDS.map((end) => {
          const { line, spots, tile } = on
          const [x, y] = spots[end]
          const [left, top, width, height] = tile.box
          if (x < left || y < top || x > left + width || y > top + height) return null
          const key = `${line.key} ${end}`
          const words = `${lengthMm(line.ends).toFixed(1)} mm${line.moved ? ', moved by hand' : ''}`
          return (
            <button
              key={key}
              type="button"
              class="scene-end"
              style={{ left: `${x / one}px`, top: `${y / one}px` }}
              aria-label={nameOf(line, end, words)}
              data-end={key}
              onPointerDown={(event) => {
                if (event.button !== 0) return
                const [u, v] = spotUnder(event)
                hold.current = { pointer: event.pointerId, key, off: [x - u, y - v] }
                event.currentTarget.setPointerCapture(event.pointerId)
              }}
              onPointerMove={(event) => {
                const held = hold.current
                if (held?.pointer !== event.pointerId || held.key !== key || !(event.buttons & 1)) return
                const [u, v] = spotUnder(event)
                move(on, end, [u + held.off[0], v + held.off[1]])
              }}
              onPointerUp={() => {
                if (hold.current) say(lines.words(line.lesion, line.plane))
                hold.current = null
              }}
              onLostPointerCapture={() => {
                hold.current = null
              }}
              onWheel={(event) => {
                event.preventDefault()
                if (!hold.current) under.dispatchEvent(new WheelEvent('wheel', event))
              }}
              onKeyDown={(event) => {
                const spot = nudged(on, end, event.key, event.shiftKey)
                if (!spot || event.ctrlKey || event.altKey || event.metaKey) return
                event.preventDefault()
                move(on, end, spot)
              }}
              onKeyUp={(event) => {
                if (event.key.startsWith('Arrow')) say(lines.words(line.lesion, line.plane))
              }}
            />
          )
        }),
      )}
      <p class="sr-only" role="status">
        {said && `Lesion ${said}`}
      </p>
    </>
  )
}
