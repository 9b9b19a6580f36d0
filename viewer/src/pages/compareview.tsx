/** Two dates side by side, linked, and what lies in only one of them. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { LabelTerm } from '../api/types'
import { differenceOf, fullestSlice, type Views } from '../app/compared'
import { type Drawn, drawCells, under } from '../scene/cells'
import { mark, type Stack, sizeOf, voxelUnder, type Where } from '../scene/cuts'
import { type ArrowKey, AXIS_OF, type AxisOrder, type Plane, sceneSpacing, stepOf, type Vec3 } from '../scene/geometry'
import { type Mask, readMask } from '../scene/nifti'

const ORDER: AxisOrder = [
  { fileAxis: 0, flipped: false },
  { fileAxis: 1, flipped: false },
  { fileAxis: 2, flipped: false },
]
const PLANES: readonly Plane[] = ['axial', 'coronal', 'sagittal']
/** The colours of the report's picture: only later, only earlier, both. */
const DIFFERENCE: readonly { value: number; name: string; rgb: [number, number, number] }[] = [
  { value: 1, name: 'only later', rgb: [213, 94, 0] },
  { value: 2, name: 'only earlier', rgb: [0, 158, 115] },
  { value: 3, name: 'both', rgb: [150, 150, 150] },
]
const KEYS: readonly string[] = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'PageUp', 'PageDown']

interface Loaded {
  earlier: Mask
  later: Mask
  earlierLabels: Uint8Array
  laterLabels: Uint8Array
  difference: Uint8Array
}

const rgbOf = (colour: string): [number, number, number] => {
  const value = Number.parseInt(colour.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}

async function loaded(views: Views): Promise<Loaded> {
  const [earlier, later, first, second] = await Promise.all(
    [views.earlier, views.later, views.earlierLabels, views.laterLabels].map((bytes) => readMask(bytes)),
  )
  if (!earlier || !later || !first || !second) throw new Error('four files are read')
  const [earlierLabels, laterLabels] = [first.labels, second.labels]
  return { earlier, later, earlierLabels, laterLabels, difference: differenceOf(earlierLabels, laterLabels) }
}

const stackOf = (image: Mask): Stack => ({ values: image.labels, slope: 1, inter: 0, window: { low: 0, high: 255 } })

function Pictures(props: { data: Loaded; labels: readonly LabelTerm[] }) {
  const { data } = props
  const { shape } = data.later.grid
  const spacing = sceneSpacing(data.later.grid, ORDER)
  const canvas = useRef<HTMLCanvasElement>(null)
  const cells = useRef<Drawn[]>([])
  const [size, setSize] = useState('')
  const [plane, setPlane] = useState<Plane>('axial')
  const [cursor, setCursor] = useState<Vec3>(() => [
    fullestSlice(data.difference, shape, 0),
    fullestSlice(data.difference, shape, 1),
    fullestSlice(data.difference, shape, 2),
  ])
  const axis = AXIS_OF[plane]
  const place: Where = { plane, slice: cursor[axis], radiological: true }
  const parts = props.labels.map(({ value, name, colour }) => ({ value, name, rgb: rgbOf(colour) }))
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      const box = entry?.contentRect
      if (box) setSize(`${Math.round(box.width)} ${Math.round(box.height)}`)
    })
    if (canvas.current) watch.observe(canvas.current)
    return () => watch.disconnect()
  }, [])
  useEffect(() => {
    if (!canvas.current || !size) return
    const [width, height] = sizeOf(plane, shape)
    const marked = (values: Uint8Array, labels: typeof parts, style: 'outline' | 'both', opacity: number) => {
      const pixels = new Uint8ClampedArray(4 * width * height)
      mark(pixels, values, shape, place, { labels, isSeen: () => true, style, opacity })
      return pixels
    }
    const [earlier, later] = [stackOf(data.earlier), stackOf(data.later)]
    cells.current = drawCells(canvas.current, size, {
      pictures: [
        { title: 'Earlier', stack: earlier, marks: marked(data.earlierLabels, parts, 'outline', 0) },
        { title: 'Later, laid on the earlier', stack: later, marks: marked(data.laterLabels, parts, 'outline', 0) },
        { title: 'Difference', stack: later, marks: marked(data.difference, [...DIFFERENCE], 'both', 0.5) },
      ],
      lie: { shape, order: ORDER },
      spacing,
      place,
      cursor,
    })
  }, [size, plane, cursor, data])
  const moved = (step: Vec3) =>
    setCursor(
      (at) =>
        [0, 1, 2].map((n) => Math.min(Math.max(at[n as 0] + step[n as 0], 0), shape[n as 0] - 1)) as unknown as Vec3,
    )
  const goTo = (event: MouseEvent & { currentTarget: HTMLCanvasElement }) => {
    const box = event.currentTarget.getBoundingClientRect()
    const one = event.currentTarget.width / Math.max(1, box.width)
    const [width, height] = sizeOf(plane, shape)
    const [x, y] = [(event.clientX - box.left) * one, (event.clientY - box.top) * one]
    const found = under(cells.current, width, height, x, y)
    if (found) setCursor(voxelUnder(place, shape, ...found))
  }
  return (
    <>
      {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: the pictures take keys and clicks of their own */}
      <canvas
        ref={canvas}
        class="compare-canvas"
        tabIndex={0}
        role="application"
        aria-label={`Both dates, ${plane}. Arrow keys move the crosshair, Page Up and Down change the slice.`}
        data-slice={place.slice}
        onPointerDown={goTo}
        onPointerMove={(event) => {
          if (event.buttons === 1) goTo(event)
        }}
        onWheel={(event) => {
          event.preventDefault()
          moved(stepOf(event.deltaY > 0 ? 'PageDown' : 'PageUp', plane, true))
        }}
        onKeyDown={(event) => {
          if (!KEYS.includes(event.key)) return
          event.preventDefault()
          moved(stepOf(event.key as ArrowKey, plane, true))
        }}
      />
      <div class="row compare-tools">
        <label>
          Plane{' '}
          <select name="compare-plane" value={plane} onChange={(event) => setPlane(event.currentTarget.value as Plane)}>
            {PLANES.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
        <label class="grow row">
          Slice
          <input
            type="range"
            class="grow"
            name="compare-slice"
            min={0}
            max={shape[axis] - 1}
            value={place.slice}
            onInput={(event) => {
              const slice = Number(event.currentTarget.value)
              setCursor((at) => at.map((value, n) => (n === axis ? slice : value)) as unknown as Vec3)
            }}
          />
        </label>
        <ul class="compare-legend" aria-label="Colours of the difference">
          <li class="only-later">only later</li>
          <li class="only-earlier">only earlier</li>
          <li class="both">both</li>
        </ul>
      </div>
    </>
  )
}

/** A dialog with the pictures; `close` is called however it is left. */
export function CompareView(props: { views: Views; labels: readonly LabelTerm[]; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const data = useSignal<Loaded | null>(null)
  const problem = useSignal('')
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal()
    void loaded(props.views).then(
      (found) => {
        data.value = found
      },
      (error: unknown) => {
        problem.value = error instanceof Error ? error.message : 'The pictures cannot be read.'
      },
    )
  }, [props.views])
  return (
    <dialog ref={dialog} class="compare-view" aria-labelledby="compare-view-title" onClose={props.close}>
      <header class="row">
        <h2 id="compare-view-title" class="grow">
          Both dates
        </h2>
        <button type="button" class="button small" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      {problem.value && <p role="alert">{problem.value}</p>}
      {data.value ? (
        <Pictures data={data.value} labels={props.labels} />
      ) : (
        !problem.value && <p role="status">Loading…</p>
      )}
    </dialog>
  )
}
