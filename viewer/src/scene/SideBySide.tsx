/** All sequences in one plane, linked: the same slice and crosshair, drawn on one 2D canvas from the arrays. */
import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { crossOf, drawCells, placesFor, under } from './cells'
import { coloursOf, edgesOf, mark, outline, SEEN, sizeOf, voxelUnder, type Where } from './cuts'
import { bounded, type Frame, type Place, showing } from './frame'
import { AXIS_OF, sceneShape, type Vec3 } from './geometry'
import { useGestures } from './gestures'
import type { PartProps } from './panel'
import { seen } from './state'
import { colourOf } from './uncertaintymap'

type Scene = PartProps['scene']
/** From so many pixels of the page on, voxels are large. */
const LARGE = 4

const whereOf = ({ state }: Scene): Where => {
  const plane = state.plane.value
  return { plane, slice: state.cursor.value?.voxel[AXIS_OF[plane]] ?? 0, radiological: state.radiological.value }
}

/** What is seen next: another plane around the crosshair, and the crosshair wherever it was moved to. */
function followed({ state, linked }: Scene, place: Place, last: { current: string }): Frame {
  const frame = state.frame.value
  const plane = state.plane.value
  const [before, here] = [last.current, `${plane} ${state.cursor.value?.voxel}`]
  last.current = here
  if (before === here) return bounded(frame)
  const turned = before !== '' && !before.startsWith(plane)
  const next = turned ? bounded({ ...frame, centre: linked.cross }) : showing(frame, place, linked.cross)
  if (String(next.centre) !== String(frame.centre)) state.frame.value = next
  return next
}

/** Labels, and the version that they are compared with, on a slice: as pixels, and as thin lines where pixels are large. */
function marked(scene: Scene, large: boolean, shape: Vec3, place: Where) {
  const { state, linked } = scene
  const [width, height] = sizeOf(place.plane, shape)
  const marks = new Uint8ClampedArray(4 * width * height)
  const drawn = linked.drawn()
  const against = state.against.value?.labels
  const marking = {
    labels: scene.labels,
    isSeen: (label: number) => seen(state.eyes.value, label),
    style: state.style.value,
    opacity: state.opacity.value,
  }
  if (!large) {
    mark(marks, drawn, shape, place, marking)
    if (against) outline(marks, against, shape, place)
    return { marks, edges: [] }
  }
  const { style } = marking
  if (style !== 'outline') mark(marks, drawn, shape, place, { ...marking, style: 'fill' })
  const own = style === 'fill' ? [] : edgesOf(drawn, shape, place, marking)
  return { marks, edges: against ? [...own, ...edgesOf(against, shape, place)] : own }
}

/** Draw all sequences; `last` holds where the crosshair was. */
function draw(scene: Scene, canvas: HTMLCanvasElement | null, size: string, last: { current: string }): void {
  const { state, linked } = scene
  // A stroke, another window of the sequence that the views show, another version, or the map of uncertainty.
  void state.counts.value
  void state.window.value
  void state.against.value
  void state.uncertain.value
  const lie = linked.lie()
  if (!canvas || !lie) return
  const place = whereOf(scene)
  const shape = sceneShape(lie.grid.shape, lie.order)
  const [width, height] = sizeOf(place.plane, shape)
  const map = scene.uncertainty.stack()
  const heat = map && coloursOf(map, lie.grid.shape, lie.order, place, colourOf)
  const found = linked.pictures()
  const cursor = state.cursor.value?.voxel ?? [0, 0, 0]
  const spacing = state.spacing.value
  const [across, up] = SEEN[place.plane]
  linked.cross = crossOf(place, shape, cursor)
  const [first] = placesFor(size, found.length, width * spacing[across], height * spacing[up])
  const frame = first && followed(scene, first, last)
  // An outline of whole voxels would hide what lies under it once they are large.
  const large = (first?.fit.width ?? 0) * (frame?.zoom ?? 1) > LARGE * width * devicePixelRatio
  const { marks, edges } = marked(scene, large, shape, place)
  const pictures = found.map(({ title, stack }) => ({ title, stack, marks }))
  linked.drawnAt = drawCells(canvas, size, {
    ...{ pictures, edges, heat, spacing, place, cursor, frame },
    lie: { shape: lie.grid.shape, order: lie.order },
  })
}

export function SideBySide({ scene }: Omit<PartProps, 'vocabulary' | 'result'>) {
  const { state } = scene
  const canvas = useRef<HTMLCanvasElement>(null)
  const last = useRef('')
  const [size, setSize] = useState('')
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      const box = entry?.contentRect
      if (box) setSize(`${Math.round(box.width)} ${Math.round(box.height)}`)
    })
    if (canvas.current) watch.observe(canvas.current)
    canvas.current?.focus()
    scene.linked.canvas = canvas.current
    return () => {
      scene.linked.canvas = null
      scene.linked.drawnAt = []
      watch.disconnect()
    }
  }, [])
  const drawNow = () => draw(scene, canvas.current, size, last)
  useSignalEffect(drawNow)
  useEffect(drawNow, [size])
  useGestures(canvas, {
    goTo: (x, y) => {
      const lie = scene.linked.lie()
      if (!lie) return
      if (!scene.linked.drawnAt.length) drawNow()
      const shape = sceneShape(lie.grid.shape, lie.order)
      const found = under(scene.linked.drawnAt, ...sizeOf(state.plane.value, shape), x, y)
      if (found) scene.linked.goTo(voxelUnder(whereOf(scene), shape, ...found))
    },
    move: (right, down) => scene.linked.pan(right, down),
    zoom: (factor, x, y) => scene.linked.zoom(factor, [x, y]),
    turn: (by) => scene.move(by > 0 ? 'PageUp' : 'PageDown'),
  })
  return (
    // biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: the pictures take arrow keys and clicks of their own
    <canvas
      ref={canvas}
      class="scene-side-by-side"
      tabIndex={0}
      data-size={size}
      data-zoom={state.frame.value.zoom.toFixed(2)}
      role="application"
      aria-label={`All sequences, ${state.plane.value}. Arrow keys move the crosshair, Page Up and Down change the slice, plus and minus zoom (where shortcuts are on), Shift with arrow keys moves the pictures.`}
      data-side-by-side={scene.linked
        .pictures()
        .map(({ key }) => key)
        .join(' ')}
    />
  )
}
