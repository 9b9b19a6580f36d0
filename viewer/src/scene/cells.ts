/** Pictures in cells of one 2D canvas: the same slice of each, with crosshair, sides and scale bar. */
import { greyOf, pixelOf, SEEN, type Stack, sizeOf, type Where } from './cuts'
import { type AxisOrder, sceneShape, sides, type Vec3 } from './geometry'
import { barMm, CROSS, sliceText, worded } from './overlay'

/** Cells that are narrower than this, in pixels of the page, have their captions in one column. */
const NARROW = 300

export interface Cell {
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

/** Which cell and which of its pixels is under a point. */
export function under(
  cells: readonly Cell[],
  width: number,
  height: number,
  x: number,
  y: number,
): [number, number] | null {
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
}

/** Draw one slice of every picture; `size` is "width height" of the canvas in pixels of the page. Returns where they lie. */
export function drawCells(canvas: HTMLCanvasElement, size: string, cut: Cut): Cell[] {
  const brush = canvas.getContext('2d')
  const [cssWidth = 0, cssHeight = 0] = size.split(' ').map(Number)
  if (!brush || !cssWidth) return []
  const { pictures, heat, lie, spacing, place, cursor } = cut
  const one = globalThis.devicePixelRatio || 1
  canvas.width = Math.round(cssWidth * one)
  canvas.height = Math.round(cssHeight * one)
  const shape = sceneShape(lie.shape, lie.order)
  const [width, height] = sizeOf(place.plane, shape)
  const [across, up] = SEEN[place.plane]
  const cells = cellsFor(pictures.length, canvas.width, canvas.height, 4 * one)
  const slice = new OffscreenCanvas(width, height)
  const into = slice.getContext('2d')
  const cross = pixelOf(place, shape, cursor)
  const letters = sides(place.plane, place.radiological)
  const sliceWords = sliceText(place.plane, cursor, shape, spacing)
  brush.fillStyle = '#2a313b'
  brush.fillRect(0, 0, canvas.width, canvas.height)
  const places = cells.map((cell) => fitted(cell, width * spacing[across], height * spacing[up]))
  pictures.forEach(({ title, stack, marks }, index) => {
    const [cell, box] = [cells[index], places[index]]
    if (!into || !cell || !box) return
    into.putImageData(new ImageData(greyOf(stack, lie.shape, lie.order, place), width, height), 0, 0)
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
  return places
}
