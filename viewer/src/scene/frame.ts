/** Which part of pictures side by side is seen, the same part of each: zoom and place. Pure. */

export interface Cell {
  left: number
  top: number
  width: number
  height: number
}

/** Where a picture is seen, and where it would lie to be seen whole. */
export interface Place {
  cell: Cell
  fit: Cell
}

/** Across and down, as shares of the picture. */
export type Share = readonly [number, number]

export interface Frame {
  /** 1: the picture is seen whole. */
  zoom: number
  /** What of the picture lies in the middle of its cell. */
  centre: Share
}

export const WHOLE: Frame = { zoom: 1, centre: [0.5, 0.5] }
const MOST = 12
/** How much of a cell one press of a key moves its picture. */
const STEP = 0.1
/** The crosshair is kept this far from the edge of its cell, as a share of it. */
const MARGIN = 0.06

const between = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high)

/** Where the picture lies, which may reach beyond its cell. */
export function framed({ cell, fit }: Place, { zoom, centre }: Frame): Cell {
  const [width, height] = [fit.width * zoom, fit.height * zoom]
  return {
    left: cell.left + cell.width / 2 - centre[0] * width,
    top: cell.top + cell.height / 2 - centre[1] * height,
    width,
    height,
  }
}

/** Half of what is seen of the picture, as a share of it. */
const half = ({ cell, fit }: Place, zoom: number): Share => [
  cell.width / (2 * fit.width * zoom),
  cell.height / (2 * fit.height * zoom),
]

/** The same zoom, with the picture in the middle of its cell at least: it cannot be lost. */
export function bounded({ zoom, centre }: Frame): Frame {
  return zoom === 1 ? WHOLE : { zoom, centre: [between(centre[0], 0, 1), between(centre[1], 0, 1)] }
}

/** Zoom, and keep what is under a point where it is; 0 shows the picture whole. */
export function zoomedAt(frame: Frame, factor: number, place: Place, x: number, y: number): Frame {
  if (factor === 0) return WHOLE
  const zoom = between(frame.zoom * factor, 1, MOST)
  const { cell, fit } = place
  const box = framed(place, frame)
  return bounded({
    zoom,
    centre: [
      (x - box.left) / box.width - (x - cell.left - cell.width / 2) / (fit.width * zoom),
      (y - box.top) / box.height - (y - cell.top - cell.height / 2) / (fit.height * zoom),
    ],
  })
}

/** Move the picture by pixels of the canvas. */
export function panned({ zoom, centre }: Frame, place: Place, right: number, down: number): Frame {
  const { width, height } = place.fit
  return bounded({ zoom, centre: [centre[0] - right / (width * zoom), centre[1] - down / (height * zoom)] })
}

/** Look to the side of an arrow key. */
export function lookedTo(frame: Frame, place: Place, key: string): Frame {
  const { width, height } = place.cell
  const ways: Record<string, Share> = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }
  const [right, down] = ways[key] ?? [0, 0]
  return panned(frame, place, right * STEP * width, down * STEP * height)
}

/** The same zoom, moved as little as it takes to have a point of the picture in sight. */
export function showing({ zoom, centre }: Frame, place: Place, point: Share): Frame {
  const reach = half(place, zoom)
  const along = (at: 0 | 1) => {
    const most = reach[at] * (1 - 2 * MARGIN)
    return between(centre[at], point[at] - most, point[at] + most)
  }
  return bounded({ zoom, centre: [along(0), along(1)] })
}

/** The cell that holds a point. */
export const placeAt = <T extends { cell: Cell }>(places: readonly T[], x: number, y: number): T | undefined =>
  places.find(({ cell: { left, top, width, height } }) => x >= left && y >= top && x < left + width && y < top + height)
