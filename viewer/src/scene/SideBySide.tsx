/** All sequences in one plane, linked: the same slice and crosshair, drawn on one 2D canvas from the arrays. */
import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type Cell, drawCells, under } from './cells'
import { coloursOf, mark, outline, sizeOf, voxelUnder, type Where } from './cuts'
import { AXIS_OF, sceneShape } from './geometry'
import type { PartProps } from './panel'
import { seen } from './state'
import { colourOf } from './uncertaintymap'

export function SideBySide({ scene }: Omit<PartProps, 'vocabulary' | 'result'>) {
  const { state } = scene
  const canvas = useRef<HTMLCanvasElement>(null)
  const places = useRef<Cell[]>([])
  const [size, setSize] = useState('')
  const where = (): Where => {
    const plane = state.plane.value
    const slice = state.cursor.value?.voxel[AXIS_OF[plane]] ?? 0
    return { plane, slice, radiological: state.radiological.value }
  }
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
      watch.disconnect()
    }
  }, [])
  const draw = () => {
    // A stroke, another window of the sequence that the views show, another version, or the map of uncertainty.
    void state.counts.value
    void state.window.value
    void state.against.value
    void state.uncertain.value
    const at = canvas.current
    const lie = scene.linked.lie()
    if (!at || !lie) return
    const place = where()
    const shape = sceneShape(lie.grid.shape, lie.order)
    const [width, height] = sizeOf(place.plane, shape)
    const marking = {
      labels: scene.labels,
      isSeen: (label: number) => seen(state.eyes.value, label),
      style: state.style.value,
      opacity: state.opacity.value,
    }
    const marks = new Uint8ClampedArray(4 * width * height)
    mark(marks, scene.linked.drawn(), shape, place, marking)
    if (state.against.value) outline(marks, state.against.value.labels, shape, place)
    const map = scene.uncertainty.stack()
    const heat = map && coloursOf(map, lie.grid.shape, lie.order, place, colourOf)
    places.current = drawCells(at, size, {
      pictures: scene.linked.pictures().map(({ title, stack }) => ({ title, stack, marks })),
      heat,
      lie: { shape: lie.grid.shape, order: lie.order },
      spacing: state.spacing.value,
      place,
      cursor: state.cursor.value?.voxel ?? [0, 0, 0],
    })
  }
  useSignalEffect(draw)
  useEffect(draw, [size])
  const goTo = (event: MouseEvent & { currentTarget: HTMLCanvasElement }) => {
    const lie = scene.linked.lie()
    if (!lie) return
    if (!places.current.length) draw()
    const shape = sceneShape(lie.grid.shape, lie.order)
    const box = event.currentTarget.getBoundingClientRect()
    const one = event.currentTarget.width / Math.max(1, box.width)
    const place = where()
    const [width, height] = sizeOf(place.plane, shape)
    const found = under(
      places.current,
      width,
      height,
      (event.clientX - box.left) * one,
      (event.clientY - box.top) * one,
    )
    if (found) scene.linked.goTo(voxelUnder(place, shape, ...found))
  }
  return (
    // biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: the pictures take arrow keys and clicks of their own
    <canvas
      ref={canvas}
      class="scene-side-by-side"
      tabIndex={0}
      data-size={size}
      role="application"
      aria-label={`All sequences, ${state.plane.value}. Arrow keys move the crosshair, Page Up and Down change the slice.`}
      data-side-by-side={scene.linked
        .pictures()
        .map(({ key }) => key)
        .join(' ')}
      onPointerDown={goTo}
      onPointerMove={(event) => {
        if (event.buttons === 1 && event.pointerType === 'mouse') goTo(event)
      }}
      onWheel={(event) => {
        event.preventDefault()
        scene.move(event.deltaY > 0 ? 'PageDown' : 'PageUp')
      }}
    />
  )
}
