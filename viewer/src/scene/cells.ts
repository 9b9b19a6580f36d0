/** Pictures in cells of one 2D canvas: the same slice of each, with crosshair, sides and scale bar. */
import { type Edges, greyOf, pixelOf, SEEN, type Stack, sizeOf, type Where } from './cuts'
import { type Cell, type Frame, framed, type Place, placeAt, WHOLE } from './frame'
import { type AxisOrder, sceneShape, sides, type Vec3 } from './geometry'
import { barMm, CROSS, sliceText, worded } from './overlay'

/** Cells that are narrower than this, in pixels of the page, have their captions in one column. */
const NARROW = 300

/** Where the slice lies in a cell: as large as it goes, in the proportions of its millimetres. */
export function fitted(cell: Cell, widthMm: number, heightMm: number): Cell {
  const scale = Math.min(cell.width / widthMm, cell.height / heightMm)
  const [width, height] = [widthMm * scale, heightMm * scale]
  return { left: cell.left + (cell.width - width) / 2, top: cell.top + (cell.height - height) / 2, width, height }
}

/** The cells of `count` pictures: two in a row, one alone, three in a row where it is wide. */
export function cellsFor(count: number, width: number, height: number, gap: number): Cell[] {
  const columns = count === 3 && width > 1.7 * height ? 3 : count > 1 ? 2 : 1
  const rows = Math.max(1, Math.ceil(count / columns))
  const [w, h] = [(width - gap * (columns - 1)) / columns, (height - gap * (rows - 1)) / rows]
  return Array.from({ length: count }, (_, at) => ({
    left: (at % columns) * (w + gap),
    top: Math.floor(at / columns) * (h + gap),
    width: w,
    height: h,
  }))
}

/** Where `count` pictures of one slice lie on a canvas; `size` is its "width height" in pixels of the page. */
export function placesFor(size: string, count: number, widthMm: number, heightMm: number): Place[] {
  const [width = 0, height = 0] = size.split(' ').map(Number)
  const one = globalThis.devicePixelRatio || 1
  const cells = cellsFor(count, Math.round(width * one), Math.round(height * one), 4 * one)
  return cells.map((cell) => ({ cell, fit: fitted(cell, widthMm, heightMm) }))
}

/** A picture as it was drawn: in which cell, and where it lies, which may reach beyond the cell. */
export interface Drawn extends Place {
  box: Cell
}

/** Which pixel of the picture under a point; null beside the pictures. */
export function under(
  pictures: readonly Drawn[],
  width: number,
  height: number,
  x: number,
  y: number,
): [number, number] | null {
  const box = placeAt(pictures, x, y)?.box
  if (!box) return null
  const column = Math.floor(((x - box.left) / box.width) * width)
  const row = Math.floor(((y - box.top) / box.height) * height)
  return column >= 0 && row >= 0 && column < width && row < height ? [column, row] : null
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

export interface CellPicture {
  title: string
  stack: Stack
  /** RGBA pixels that are laid over the slice. */
  marks: Uint8ClampedArray<ArrayBuffer>
}

export interface Cut {
  pictures: readonly CellPicture[]
  /** RGBA pixels of a map that lies between each picture and its marks; null: none. */
  heat?: Uint8ClampedArray<ArrayBuffer> | null
  /** How the files' voxels lie in the scene. */
  lie: { shape: Vec3; order: AxisOrder }
  spacing: Vec3
  place: Where
  /** The crosshair, in voxels of the scene. */
  cursor: Vec3
  /** Outlines over the marks of each picture, as thin lines. */
  edges?: readonly Edges[]
  /** Which part of each picture is seen; all of it by default. */
  frame?: Frame | undefined
}

/** Draw one slice of every picture; `size` is "width height" of the canvas in pixels of the page. Returns where they lie. */
export function drawCells(canvas: HTMLCanvasElement, size: string, cut: Cut): Drawn[] {
  const brush = canvas.getContext('2d')
  const [cssWidth = 0, cssHeight = 0] = size.split(' ').map(Number)
  if (!brush || !cssWidth) return []
  const { pictures, heat, lie, spacing, place, cursor, edges = [], frame = WHOLE } = cut
  const one = globalThis.devicePixelRatio || 1
  canvas.width = Math.round(cssWidth * one)
  canvas.height = Math.round(cssHeight * one)
  const shape = sceneShape(lie.shape, lie.order)
  const [width, height] = sizeOf(place.plane, shape)
  const [across, up] = SEEN[place.plane]
  const slice = new OffscreenCanvas(width, height)
  const into = slice.getContext('2d')
  const letters = sides(place.plane, place.radiological)
  const sliceWords = sliceText(place.plane, cursor, shape, spacing)
  const at = crossOf(place, shape, cursor)
  brush.fillStyle = '#2a313b'
  brush.fillRect(0, 0, canvas.width, canvas.height)
  const places = placesFor(size, pictures.length, width * spacing[across], height * spacing[up])
  const drawn = places.map((found) => ({ ...found, box: framed(found, frame) }))
  pictures.forEach(({ title, stack, marks }, index) => {
    const found = drawn[index]
    if (!into || !found) return
    const { cell, box } = found
    const lay = (pixels: Uint8ClampedArray<ArrayBuffer>, smooth: boolean) => {
      into.putImageData(new ImageData(pixels, width, height), 0, 0)
      brush.imageSmoothingEnabled = smooth
      brush.drawImage(slice, box.left, box.top, box.width, box.height)
    }
    brush.save()
    brush.beginPath()
    brush.rect(cell.left, cell.top, cell.width, cell.height)
    brush.clip()
    brush.fillStyle = '#000'
    brush.fillRect(cell.left, cell.top, cell.width, cell.height)
    lay(greyOf(stack, lie.shape, lie.order, place), true)
    if (heat) lay(heat, true)
    lay(marks, false) // labels are voxels: their edges stay sharp
    for (const edge of edges) strokeEdges(brush, edge, box, [width, height], one)
    const perMm = box.width / (width * spacing[across])
    writeOver(brush, cell, box, at, { title, slice: sliceWords, letters, perMm, one })
    brush.restore()
  })
  return drawn
}

/** From where to where each side of a pixel runs, and which way is inside. */
const SIDES = [
  [0, 0, 0, 1, 1, 0],
  [1, 0, 1, 1, -1, 0],
  [0, 0, 1, 0, 0, 1],
  [0, 1, 1, 1, 0, -1],
] as const
const EDGE = 2

/** Draw outlines just inside of their labels, of one width at every zoom. */
function strokeEdges(
  brush: CanvasRenderingContext2D,
  { rgb, dashed, sides }: Edges,
  box: Cell,
  [width, height]: readonly [number, number],
  one: number,
): void {
  const [across, down, line] = [box.width / width, box.height / height, EDGE * one]
  brush.beginPath()
  for (let at = 0; at < sides.length; at += 3) {
    const side = SIDES[sides[at + 2] as 0 | 1 | 2 | 3]
    const x = box.left + (sides[at] as number) * across + (side[4] * line) / 2
    const y = box.top + (sides[at + 1] as number) * down + (side[5] * line) / 2
    brush.moveTo(x + side[0] * across, y + side[1] * down)
    brush.lineTo(x + side[2] * across, y + side[3] * down)
  }
  brush.lineWidth = line
  brush.setLineDash(dashed ? [across / 2, across / 2] : [])
  brush.strokeStyle = `rgb(${rgb.join(' ')})`
  brush.stroke()
}

/** The crosshair as shares of the picture. */
export function crossOf(place: Where, shape: Vec3, cursor: Vec3): readonly [number, number] {
  const [width, height] = sizeOf(place.plane, shape)
  const [column, row] = pixelOf(place, shape, cursor)
  return [(column + 0.5) / width, (row + 0.5) / height]
}
