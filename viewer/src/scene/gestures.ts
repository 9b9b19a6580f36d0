/** Pointers over pictures side by side: what clicks, what moves the pictures, what zooms them. */
import { useEffect, useRef } from 'preact/hooks'

/** A finger that has moved further, in pixels of the page, did not tap. */
const TAP = 10
/** One notch of a wheel counts no more than this: a touchpad sends small steps. */
const NOTCH = 25

export interface Gestures {
  /** The crosshair goes to this point. */
  goTo: (x: number, y: number) => void
  move: (right: number, down: number) => void
  zoom: (factor: number, x: number, y: number) => void
  /** The next slice up (1) or down. */
  turn: (by: 1 | -1) => void
}

interface Finger {
  x: number
  y: number
  /** It was put down here, and only tapped so far. */
  tap: boolean
}

const apart = ([one, other]: readonly Finger[]): number =>
  one && other ? Math.hypot(one.x - other.x, one.y - other.y) : 0
const middle = (fingers: readonly Finger[]): readonly [number, number] => [
  fingers.reduce((sum, { x }) => sum + x, 0) / fingers.length,
  fingers.reduce((sum, { y }) => sum + y, 0) / fingers.length,
]

/** How much a turn of the wheel zooms. */
export const zoomOf = (deltaY: number): number => Math.exp(-Math.min(Math.max(deltaY, -NOTCH), NOTCH) / 100)

/** What fingers do between two places: how far their middle goes, and how far they go apart. */
export function pinched(before: readonly Finger[], after: readonly Finger[]) {
  const [from, to] = [middle(before), middle(after)]
  const factor = before.length === 2 && after.length === 2 ? apart(after) / Math.max(1, apart(before)) : 1
  return { right: to[0] - from[0], down: to[1] - from[1], factor, at: to }
}

/** Watch a canvas. Points are in its pixels. */
export function useGestures(canvas: { current: HTMLCanvasElement | null }, gestures: Gestures): void {
  const now = useRef(gestures)
  now.current = gestures
  useEffect(() => {
    const element = canvas.current
    if (!element) return
    const stops = new AbortController()
    const { signal } = stops
    const fingers = new Map<number, Finger>()
    let dragging = -1
    const at = (event: MouseEvent): Finger => {
      const box = element.getBoundingClientRect()
      const one = element.width / Math.max(1, box.width)
      return { x: (event.clientX - box.left) * one, y: (event.clientY - box.top) * one, tap: false }
    }
    const pressed = (event: PointerEvent) => {
      const here = at(event)
      if (event.pointerType !== 'mouse') {
        fingers.set(event.pointerId, { ...here, tap: true })
        if (fingers.size > 1) for (const finger of fingers.values()) finger.tap = false
      } else if (event.button === 1 || (event.button === 0 && event.shiftKey)) {
        event.preventDefault() // the middle button would begin to scroll the page
        dragging = event.pointerId
        fingers.set(dragging, here)
        element.setPointerCapture(dragging)
        element.focus()
      } else if (event.button === 0) now.current.goTo(here.x, here.y)
    }
    const moved = (event: PointerEvent) => {
      const here = at(event)
      const tap = TAP * (element.width / Math.max(1, element.clientWidth))
      const finger = fingers.get(event.pointerId)
      if (!finger) {
        if (event.buttons === 1 && event.pointerType === 'mouse') now.current.goTo(here.x, here.y)
        return
      }
      if (finger.tap && Math.hypot(here.x - finger.x, here.y - finger.y) < tap) return
      const before = [...fingers.values()]
      fingers.set(event.pointerId, here)
      if (fingers.size < 2 && event.pointerId !== dragging) return // one finger scrolls the page
      const { right, down, factor, at: point } = pinched(before, [...fingers.values()])
      now.current.move(right, down)
      if (factor !== 1) now.current.zoom(factor, ...point)
    }
    const released = (event: PointerEvent) => {
      const finger = fingers.get(event.pointerId)
      fingers.delete(event.pointerId)
      if (event.pointerId === dragging) dragging = -1
      if (finger?.tap && event.type === 'pointerup') now.current.goTo(finger.x, finger.y)
    }
    const turned = (event: WheelEvent) => {
      event.preventDefault()
      const { x, y } = at(event)
      // Two fingers that spread on a touchpad come as a wheel with Ctrl.
      if (event.ctrlKey || event.metaKey) now.current.zoom(zoomOf(event.deltaY), x, y)
      else now.current.turn(event.deltaY > 0 ? -1 : 1)
    }
    const doubled = (event: MouseEvent) => now.current.zoom(0, at(event).x, at(event).y)
    // Two fingers are for the pictures; one scrolls the page.
    const touched = (event: TouchEvent) => event.touches.length > 1 && event.preventDefault()
    element.addEventListener('pointerdown', pressed, { signal })
    element.addEventListener('pointermove', moved, { signal })
    for (const kind of ['pointerup', 'pointercancel'] as const) element.addEventListener(kind, released, { signal })
    element.addEventListener('wheel', turned, { signal, passive: false })
    element.addEventListener('dblclick', doubled, { signal })
    for (const kind of ['touchstart', 'touchmove'] as const)
      element.addEventListener(kind, touched, { signal, passive: false })
    return () => stops.abort()
  }, [])
}
