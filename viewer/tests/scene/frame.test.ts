import { describe, expect, it } from 'vitest'
import { bounded, framed, lookedTo, type Place, panned, placeAt, showing, WHOLE, zoomedAt } from '../../src/scene/frame'
import { pinched, zoomOf } from '../../src/scene/gestures'

/** A cell of 300 x 200 whose picture is 100 x 200 when it is seen whole. */
const place: Place = {
  cell: { left: 50, top: 10, width: 300, height: 200 },
  fit: { left: 150, top: 10, width: 100, height: 200 },
}
/** The share of the picture under a point. */
const shareAt = (frame: typeof WHOLE, x: number, y: number) => {
  const box = framed(place, frame)
  return [(x - box.left) / box.width, (y - box.top) / box.height]
}

describe('what is seen of pictures side by side', () => {
  it('is all of them first', () => {
    expect(framed(place, WHOLE)).toEqual(place.fit)
  })
  it('stays where it is under the pointer that zooms, in and out again', () => {
    const [x, y] = [190, 60]
    let frame = WHOLE
    const under = shareAt(frame, x, y)
    for (const factor of [1.5, 2, 1.2]) {
      frame = zoomedAt(frame, factor, place, x, y)
      expect(shareAt(frame, x, y)[0]).toBeCloseTo(under[0] ?? 0, 9)
      expect(shareAt(frame, x, y)[1]).toBeCloseTo(under[1] ?? 0, 9)
    }
    expect(frame.zoom).toBeCloseTo(3.6)
    for (let step = 0; step < 20; step++) frame = zoomedAt(frame, 0.8, place, x, y)
    expect(framed(place, frame)).toEqual(place.fit)
    expect(zoomedAt({ zoom: 4, centre: [0.2, 0.9] }, 0, place, x, y)).toEqual(WHOLE)
  })
  it('never leaves the middle of the cell, nor grows without end', () => {
    expect(bounded({ zoom: 2, centre: [-3, 1.5] }).centre).toEqual([0, 1])
    expect(bounded({ zoom: 1, centre: [0, 0] })).toEqual(WHOLE)
    expect(zoomedAt(WHOLE, 1000, place, 200, 100).zoom).toBe(12)
  })
  it('moves with the hand, and to the side of a key', () => {
    const frame = { zoom: 4, centre: [0.5, 0.5] } as const
    const before = framed(place, frame)
    const after = framed(place, panned(frame, place, 30, -20))
    expect([after.left - before.left, after.top - before.top]).toEqual([30, -20])
    expect(lookedTo(frame, place, 'ArrowRight').centre[0]).toBeGreaterThan(0.5)
    expect(lookedTo(frame, place, 'ArrowDown').centre[1]).toBeGreaterThan(0.5)
    expect(panned(WHOLE, place, 30, 30)).toEqual(WHOLE)
  })
  it('follows the crosshair only where it would be out of sight', () => {
    const frame = { zoom: 4, centre: [0.5, 0.5] } as const
    expect(showing(frame, place, [0.6, 0.45])).toEqual(frame)
    const moved = showing(frame, place, [0.1, 0.95])
    const box = framed(place, moved)
    expect(box.left + 0.1 * box.width).toBeGreaterThan(50)
    expect(box.top + 0.95 * box.height).toBeLessThan(210)
  })
  it('belongs to the cell under the pointer', () => {
    expect(placeAt([place], 51, 11)).toBe(place)
    expect(placeAt([place], 351, 11)).toBeUndefined()
  })
})

describe('gestures', () => {
  const finger = (x: number, y: number) => ({ x, y, tap: false })
  it('zoom by how far two fingers go apart, and move by their middle', () => {
    const done = pinched([finger(0, 0), finger(10, 0)], [finger(0, 4), finger(20, 4)])
    expect(done).toEqual({ right: 5, down: 4, factor: 2, at: [10, 4] })
    expect(pinched([finger(1, 1)], [finger(3, 0)])).toMatchObject({ right: 2, down: -1, factor: 1 })
  })
  it('zoom by one notch as much as by a large step', () => {
    expect(zoomOf(-100)).toBeCloseTo(1.284, 3)
    expect(zoomOf(120) * zoomOf(-120)).toBeCloseTo(1)
    expect(zoomOf(-2)).toBeCloseTo(1.02, 3)
  })
})
