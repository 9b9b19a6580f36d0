/** All sequences in one plane, linked: the same slice and crosshair, drawn on one 2D canvas from the arrays. */
import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { coloursOf, greyOf, mark, outline, pixelOf, SEEN, sizeOf, voxelUnder, type Where } from './cuts'
import { AXIS_OF, sceneShape, sides, type Vec3 } from './geometry'
import { barMm, CROSS, sliceText, worded } from './overlay'
import type { PartProps } from './panel'
import { seen } from './state'
import { colourOf } from './unsure'

/** Cells that are narrower than this, in pixels of the page, have their captions in one column. */
const NARROW = 300

interface Cell {
  left: number
  top: number
  width: number
  height: number
}

/** Where the slice lies in a cell: as large as it goes, in the proportions of its millimetres. */
export function fitted(cell: Cell, widthMm: number, heightMm: number): Cell {
  const scale = Math.min(cell.width / widthMm, cell.height / heightMm)
  const [width, height] = [widthMm * scale, heightMm * scale]
  return { left: cell.left + (cell.width - width) / 2, top: cell.top + (cell.height - height) / 2, width, height }
}

/** The cells of `count` pictures: two in a row, one alone. */
export function cellsFor(count: number, width: number, height: number, gap: number): Cell[] {
  const columns = count > 1 ? 2 : 1
  const rows = Math.max(1, Math.ceil(count / columns))
  const [w, h] = [(width - gap * (columns - 1)) / columns, (height - gap * (rows - 1)) / rows]
  return Array.from({ length: count }, (_, at) => ({
    left: (at % columns) * (w + gap),
    top: Math.floor(at / columns) * (h + gap),
    width: w,
    height: h,
  }))
}

/** Which cell and which of its pixels is under a point. */
function under(cells: readonly Cell[], width: number, height: number, x: number, y: number): [number, number] | null {
  for (const { left, top, width: w, height: h } of cells) {
    const [column, row] = [Math.floor(((x - left) / w) * width), Math.floor(((y - top) / h) * height)]
    if (column >= 0 && row >= 0 && column < width && row < height) return [column, row]
  }
  return null
}

interface Words {
  title: string
  slice: string
  letters: { left: string; right: string }
  /** Canvas pixels of a millimetre, and of one pixel of the page. */
  perMm: number
  one: number
}

/** Crosshair, title, slice, sides and scale bar over the picture of one cell; `at` is the crosshair as shares of the picture. */
function writeOver(
  brush: CanvasRenderingContext2D,
  cell: Cell,
  box: Cell,
  at: readonly [number, number],
  words: Words,
): void {
  const { one, perMm, letters } = words
  const font = 12 * one
  brush.font = `${font}px system-ui, sans-serif`
  const line = Math.max(1, Math.round(one))
  brush.fillStyle = CROSS
  brush.fillRect(Math.round(box.left + at[0] * box.width - line / 2), box.top, line, box.height)
  brush.fillRect(box.left, Math.round(box.top + at[1] * box.height - line / 2), box.width, line)
  const edge = 7 * one
  const [bottom, right] = [cell.top + cell.height - edge, cell.left + cell.width - edge]
  worded(brush, words.title, cell.left + edge, cell.top + edge + font, font, 'left')
  // Beside the scale bar, or under the title where a cell is too narrow for both.
  const below = cell.width > NARROW * one ? bottom : cell.top + edge + 2.4 * font
  worded(brush, words.slice, cell.left + edge, below, font, 'left')
  worded(brush, letters.left, cell.left + edge, cell.top + cell.height / 2, font, 'left')
  worded(brush, letters.right, right, cell.top + cell.height / 2, font, 'right')
  const mm = barMm(perMm, cell.width)
  brush.fillStyle = '#e8ecf1'
  brush.fillRect(right - mm * perMm, bottom - 2 * one, mm * perMm, 3 * one)
  worded(brush, `${mm} mm`, right, bottom - 0.7 * font, font, 'right')
}

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
    const brush = at?.getContext('2d')
    const lie = scene.linked.lie()
    const [cssWidth = 0, cssHeight = 0] = size.split(' ').map(Number)
    if (!at || !brush || !lie || !cssWidth) return
    const one = globalThis.devicePixelRatio || 1
    at.width = Math.round(cssWidth * one)
    at.height = Math.round(cssHeight * one)
    const place = where()
    const shape = sceneShape(lie.grid.shape, lie.order)
    const spacing = state.spacing.value
    const [width, height] = sizeOf(place.plane, shape)
    const [across, up] = SEEN[place.plane]
    const shown = scene.linked.pictures()
    const cells = cellsFor(shown.length, at.width, at.height, 4 * one)
    const slice = new OffscreenCanvas(width, height)
    const into = slice.getContext('2d')
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
    const cross = pixelOf(place, shape, state.cursor.value?.voxel ?? ([0, 0, 0] as Vec3))
    const letters = sides(place.plane, place.radiological)
    const sliceWords = sliceText(place.plane, state.cursor.value?.voxel ?? [0, 0, 0], shape, spacing)
    brush.fillStyle = '#2a313b'
    brush.fillRect(0, 0, at.width, at.height)
    places.current = cells.map((cell) => fitted(cell, width * spacing[across], height * spacing[up]))
    shown.forEach(({ title, stack }, index) => {
      const [cell, box] = [cells[index], places.current[index]]
      if (!into || !cell || !box) return
      const pixels = greyOf(stack, lie.grid.shape, lie.order, place)
      into.putImageData(new ImageData(pixels, width, height), 0, 0)
      brush.fillStyle = '#000'
      brush.fillRect(cell.left, cell.top, cell.width, cell.height)
      brush.imageSmoothingEnabled = true
      brush.drawImage(slice, box.left, box.top, box.width, box.height)
      if (heat) {
        into.putImageData(new ImageData(heat, width, height), 0, 0)
        brush.drawImage(slice, box.left, box.top, box.width, box.height)
      }
      // Labels are voxels: their edges stay sharp.
      brush.imageSmoothingEnabled = false
      into.putImageData(new ImageData(marks, width, height), 0, 0)
      brush.drawImage(slice, box.left, box.top, box.width, box.height)
      const at: readonly [number, number] = [(cross[0] + 0.5) / width, (cross[1] + 0.5) / height]
      const perMm = box.width / (width * spacing[across])
      writeOver(brush, cell, box, at, { title, slice: sliceWords, letters, perMm, one })
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
