/** Diameters over the pictures: where their lines lie on a slice, how they are drawn, where a moved end goes. */
import type { DiameterLine, DiameterLines } from '../app/diameterlines'
import type { Point } from '../app/measured'
import { SEEN } from './cuts'
import { AXIS_OF, sceneVoxelOf, type Vec3, worldOfScene } from './geometry'
import type { Lie } from './niivue/drawing'
import { type TilePlace, worded } from './overlay'

export type Spot = readonly [number, number]

/** A line on a slice that is on screen. */
export interface LineOnTile {
  line: DiameterLine
  tile: TilePlace
  /** Its ends in pixels of the canvas. */
  spots: readonly [Spot, Spot]
}

/** Where a voxel lies on a tile, in pixels of the canvas. */
export function spotOf({ plane, voxels: { start, step } }: TilePlace, voxel: Vec3): Spot {
  const [across, up] = SEEN[plane]
  return [start[0] + voxel[across] * step[0], start[1] + voxel[up] * step[1]]
}

/** The lines on the slices that are on screen. */
export function linesOn(
  { lines }: DiameterLines,
  tiles: readonly TilePlace[],
  { grid, order }: Lie,
  cursor: Vec3,
): LineOnTile[] {
  return lines.flatMap((line) => {
    const tile = tiles.find(({ plane }) => plane === line.plane)
    const [from, to] = line.ends.map((end) => sceneVoxelOf(grid, order, end)) as [Vec3, Vec3]
    const axis = AXIS_OF[line.plane]
    if (!tile || Math.round(from[axis]) !== cursor[axis]) return []
    return [{ line, tile, spots: [spotOf(tile, from), spotOf(tile, to)] }]
  })
}

const between = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high)

/** The place in the world that an end goes to, on its slice, within the picture and what is seen of it. */
export function movedTo({ tile, line }: LineOnTile, end: 0 | 1, [x, y]: Spot, { grid, order }: Lie): Point {
  const [across, up] = SEEN[tile.plane]
  const { start, step, sizes } = tile.voxels
  const voxel = [...sceneVoxelOf(grid, order, line.ends[end])] as [number, number, number]
  const [left, top, width, height] = tile.box
  voxel[across] = between((between(x, left, left + width) - start[0]) / step[0], 0, sizes[0] - 1)
  voxel[up] = between((between(y, top, top + height) - start[1]) / step[1], 0, sizes[1] - 1)
  const [a, b, c] = worldOfScene(grid, order, voxel)
  return [a, b, c]
}

/** How far an arrow key moves an end, in pixels of the canvas: 0.5 mm, with Shift 5 mm. */
export function nudged({ tile, spots }: LineOnTile, end: 0 | 1, key: string, far: boolean): Spot | null {
  const ways: Record<string, Spot> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
  const way = ways[key]
  const by = (far ? 5 : 0.5) * tile.pixelsPerMm
  return way ? [spots[end][0] + way[0] * by, spots[end][1] + way[1] * by] : null
}

/** Draw the lines with their lengths; those that were moved are dashed, and their words say so. */
export function drawLines(
  brush: CanvasRenderingContext2D,
  found: readonly LineOnTile[],
  words: DiameterLines['words'],
  one: number,
): void {
  const size = 12 * one
  const sides = new Map<string, { tile: TilePlace; right: number; top: number; bottom: number; text: string }>()
  for (const { line, tile, spots } of found) {
    const [[x, y], [u, v]] = spots
    brush.save()
    brush.beginPath()
    brush.rect(...tile.box)
    brush.clip()
    for (const [width, colour] of [
      [4 * one, 'rgb(10 14 19 / 80%)'],
      [1.5 * one, '#fff'],
    ] as const) {
      brush.beginPath()
      brush.setLineDash(line.moved && colour === '#fff' ? [6 * one, 3 * one] : [])
      brush.lineWidth = width
      brush.strokeStyle = colour
      brush.moveTo(x, y)
      brush.lineTo(u, v)
      brush.stroke()
    }
    brush.restore()
    const text = words(line.lesion, line.plane)
    const before = sides.get(text)
    sides.set(text, {
      ...{ tile, text },
      right: Math.max(x, u, before?.right ?? x),
      top: Math.min(y, v, before?.top ?? y),
      bottom: Math.max(y, v, before?.bottom ?? y),
    })
  }
  brush.font = `${size}px system-ui, sans-serif`
  for (const { tile, right, top, bottom, text } of sides.values()) {
    const [left, , width] = tile.box
    const most = left + width - brush.measureText(text).width - 6 * one
    // Beside the lines, or under them where there is no room.
    const beside = right + 10 * one
    if (beside <= most) worded(brush, text, beside, (top + bottom) / 2, size, 'left')
    else worded(brush, text, Math.max(left + 4 * one, most), bottom + 2 * size, size, 'left')
  }
}
