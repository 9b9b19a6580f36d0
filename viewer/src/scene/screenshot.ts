/** What is on screen as a PNG that says what it is: research use only, and nobody's name. */

import { ml } from '../app/format'
import { saveFile } from '../app/save'
import { volumeOf } from '../app/vocabulary'
import { linesShown } from './DiameterEnds'
import { drawLines } from './diameters'
import { sides } from './geometry'
import { cellsOf, drawOverlay, overlayWords } from './overlay'
import { type PartProps, sidesInWords, tilesOf, volumesShown } from './panel'
import { type SceneState, seen } from './state'

const WORDS = 'Research use only'

/** A name without the case's id, number or date: pictures get shared. */
export const screenshotName = (view: string, sequence: string): string => `hope-${view}-${sequence}.png`

/** The lines under the picture. */
export function captionOf({ scene, vocabulary }: Pick<PartProps, 'scene' | 'vocabulary'>): [string, string] {
  const { state } = scene
  const title = state.choice.value
  const mark = title?.mark ? ` (${title.mark})` : ''
  const matched = state.matchedShown.value ? ' after brightness matching' : ''
  const mask = state.before.value
    ? 'mask before cleaning'
    : state.version.value === 0
      ? 'mask of the model'
      : `mask corrected, version ${state.version.value}`
  const unsaved = state.unsaved.value ? ', with unsaved changes' : ''
  const said = vocabulary.disclaimer.includes(WORDS) ? vocabulary.disclaimer : `${WORDS}. ${vocabulary.disclaimer}`
  return [said, `${title?.title ?? ''}${mark}${matched}, ${mask}${unsaved}. ${sidesInWords(state.radiological.value)}.`]
}

export interface Part {
  colour: string
  text: string
}

/** The labels that are seen, with their volumes. */
export function legendOf({ scene, vocabulary, result }: PartProps): Part[] {
  const { state } = scene
  const { volumes } = volumesShown(state, vocabulary, result, scene.voxelMl())
  return vocabulary.labels
    .filter(({ value }) => (state.counts.value[value] ?? 0) > 0 && seen(state.eyes.value, value))
    .map(({ key, colour }) => ({ colour, text: `${key} ${ml(volumeOf(volumes, key).ml)} ml` }))
}

/** Where the crosshair is, for whoever wants to find the place again. */
export function placeOf({ cursor }: Pick<SceneState, 'cursor'>): string {
  const [x, y, z] = (cursor.value?.mm ?? [0, 0, 0]).map((mm) => mm.toFixed(1).replace('-', '−'))
  return `Crosshair at x ${x}, y ${y}, z ${z} mm (to the patient’s right, front, top).`
}

/** Write the letters of the patient's sides on the picture, where the page has them over it. */
function lettered(brush: CanvasRenderingContext2D, picture: HTMLCanvasElement, state: SceneState, size: number): void {
  const tiles = tilesOf(state.view.value)
  const across = tiles.length > 1 ? 2 : 1
  const [width, height] = [picture.width / across, picture.height / across]
  brush.font = `bold ${size}px sans-serif`
  brush.textAlign = 'center'
  brush.textBaseline = 'middle'
  for (const [index, { view }] of tiles.entries()) {
    if (view === '3d') continue
    const [left, top] = [(index % across) * width, Math.floor(index / across) * height]
    const shown = sides(view, state.radiological.value)
    const places: [string, number, number][] = [
      [shown.left, left + size, top + height / 2],
      [shown.right, left + width - size, top + height / 2],
      [shown.top, left + width / 2, top + size],
      [shown.bottom, left + width / 2, top + height - size],
    ]
    for (const [letter, x, y] of places) {
      brush.fillStyle = '#0a0e13'
      brush.fillRect(x - size * 0.65, y - size * 0.7, size * 1.3, size * 1.4)
      brush.fillStyle = '#fff'
      brush.fillText(letter, x, y)
    }
  }
}

/** The parts that are seen, each with its colour and volume, from left to right. */
function legend(
  brush: CanvasRenderingContext2D,
  parts: readonly Part[],
  left: number,
  top: number,
  size: number,
): void {
  let x = left
  for (const { colour, text } of parts) {
    brush.fillStyle = colour
    brush.fillRect(x, top, size, size)
    brush.fillStyle = '#fff'
    brush.fillText(text, x + 1.4 * size, top)
    x += 2.4 * size + brush.measureText(text).width
  }
}

function captioned(
  picture: HTMLCanvasElement,
  lines: readonly string[],
  parts: readonly Part[],
  over: (brush: CanvasRenderingContext2D, size: number) => void,
): HTMLCanvasElement {
  const whole = document.createElement('canvas')
  const size = Math.max(14, Math.round(picture.width / 60))
  const line = Math.round(size * 1.5)
  whole.width = picture.width
  whole.height = picture.height + line * (lines.length + (parts.length ? 1 : 0)) + size
  const brush = whole.getContext('2d')
  if (!brush) return picture
  brush.fillStyle = '#000'
  brush.fillRect(0, 0, whole.width, whole.height)
  brush.drawImage(picture, 0, 0)
  over(brush, size)
  brush.fillStyle = '#fff'
  brush.textAlign = 'left'
  brush.textBaseline = 'top'
  for (const [index, text] of lines.entries()) {
    brush.font = `${index === 0 ? 'bold ' : ''}${size}px sans-serif`
    brush.fillText(text, size / 2, picture.height + size / 2 + index * line, whole.width - size)
  }
  legend(brush, parts, size / 2, picture.height + size / 2 + lines.length * line, size)
  return whole
}

/** Let the browser save a PNG of the pictures. */
export async function saveScreenshot(props: PartProps): Promise<void> {
  const { scene } = props
  const { state } = scene
  // Pictures side by side have their captions on them.
  const linked = state.sideBySide.value ? scene.linked.canvas : null
  const picture = linked ?? scene.snapshot()
  if (!picture) return
  const cells = cellsOf(state.view.value !== 'multi', picture.width, picture.height)
  const one = Math.max(1, picture.width / 1200)
  const whole = captioned(picture, [...captionOf(props), placeOf(state)], legendOf(props), (brush, size) => {
    if (linked) return
    drawOverlay(brush, scene.places(), overlayWords(state, props.result), one, cells)
    const lines = state.lines.value
    if (lines) drawLines(brush, linesShown(scene), lines.words, one)
    lettered(brush, picture, state, size)
  })
  const file = await new Promise<Blob | null>((done) => whole.toBlob(done, 'image/png'))
  if (!file) return
  const shown = linked
    ? ([state.plane.value, 'all-sequences'] as const)
    : ([state.view.value, state.sequence.value] as const)
  saveFile(file, screenshotName(...shown))
}
