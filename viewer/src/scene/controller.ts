/** What happens when: between the state, the server, and the viewer. No markup, no library. */
import { batch } from '@preact/signals'
import type { Api } from '../api/client'
import type { CaseOut, Vocabulary } from '../api/types'
import { put, take } from '../app/stash'
import { rgb, sentenceOf } from '../app/vocabulary'
import { Editing, sentence } from './editing'
import { brainMask, firstShown, maskVersions, modelMask, previewName, sequenceChoices, uncertaintyMap } from './files'
import { type ArrowKey, AXIS_OF, stepOf, type Vec3, voxelMl } from './geometry'
import { LinkedPictures } from './linked'
import { LabelDisplay } from './marks'
import type { SceneLabel, SceneTold, Viewer } from './niivue'
import type { TilePlace } from './overlay'
import { type SequenceHost, SequenceSwitch } from './sequences'
import { Source } from './source'
import { type Mode, next, SceneState, seen, type View } from './state'
import { loadSurfaces, surfacesAreTrue } from './surfaces'
import { UncertaintyMap } from './uncertaintymap'
import type { Window } from './window'

/** What the values of a map are: what follows the colon in the words for the file, as a sentence. */
const meaningOf = (kind = ''): string => sentenceOf(kind.split(': ').slice(1).join(': '))

const NARROW = '(max-width: 40rem)'

export interface SceneParts {
  caseId: string
  api: Api
  vocabulary: Vocabulary
  result: CaseOut
  onSaved: () => void
}

export class SceneController {
  readonly state = new SceneState()
  readonly labels: readonly SceneLabel[]
  readonly edit: Editing
  /** Which sequence is on screen. */
  readonly sequences: SequenceSwitch
  /** All sequences side by side. */
  readonly linked: LinkedPictures
  /** Where the model's answer is uncertain. */
  readonly uncertainty: UncertaintyMap
  /** Which labels are on screen, and how they are drawn. */
  readonly marks: LabelDisplay
  private readonly source: Source
  private readonly parts: SceneParts
  private viewer: Viewer | null = null

  constructor(parts: SceneParts) {
    this.parts = parts
    this.state.version.value = parts.result.version
    this.source = new Source(parts.api, parts.caseId, parts.result.run)
    this.edit = new Editing({
      state: this.state,
      source: this.source,
      viewer: () => this.viewer,
      setMode: (mode) => this.setMode(mode),
      changed: () => this.recount(),
      say: (kind, text) => this.say(kind, text),
      saved: parts.onSaved,
      learnVersions: async () => {
        const versions = await this.source.list()
        this.state.versions.value = maskVersions(this.source.files, versions, parts.result)
      },
    })
    const host: SequenceHost = {
      state: this.state,
      source: this.source,
      viewer: () => this.viewer,
      say: (kind, text) => this.say(kind, text),
    }
    this.sequences = new SequenceSwitch(host)
    this.linked = new LinkedPictures(host, this.sequences)
    this.uncertainty = new UncertaintyMap(host)
    this.labels = parts.vocabulary.labels.map(({ value, name, colour }) => ({ value, name, rgb: rgb(colour) }))
    this.marks = new LabelDisplay(
      this.state,
      this.labels.map(({ value }) => value),
      () => this.viewer,
    )
    // Four pictures side by side are too small for a phone.
    if (matchMedia(NARROW).matches) this.state.view.value = 'axial'
    this.state.pen.value = { ...this.state.pen.value, label: this.labels[0]?.value ?? 1 }
  }

  /** Load everything and draw. Called again to retry; a drawing that was kept is shown again. */
  async open(canvas: HTMLCanvasElement): Promise<void> {
    const { state, parts, source } = this
    const signal = source.restart()
    this.dispose()
    state.phase.value = 'loading'
    state.message.value = 'Loading the viewer'
    const waiting = take(parts.caseId, parts.result.run)
    if (waiting) this.edit.receive(waiting)
    try {
      const [{ Viewer }, versions] = await Promise.all([import('./niivue'), source.list()])
      if (signal.aborted) return
      batch(() => {
        state.sequences.value = sequenceChoices(source.files, parts.vocabulary, parts.result)
        state.versions.value = maskVersions(source.files, versions, parts.result)
        state.canCompare.value = modelMask(source.files) !== null
        state.hasBrain.value = brainMask(source.files) !== null
        const map = uncertaintyMap(source.files)
        state.uncertaintyFile.value = map?.name ?? null
        state.uncertaintyMeaning.value = meaningOf(map?.kind)
      })
      if (!Viewer.supported()) {
        state.phase.value = 'unsupported'
        return
      }
      await this.start(new Viewer(this.labels, this.told()), canvas, signal)
    } catch (error) {
      if (signal.aborted) return
      this.dispose()
      state.message.value = sentence(error)
      state.phase.value = 'failed'
    }
  }

  private told(): SceneTold {
    const { state } = this
    return {
      cursor: (cursor) => {
        state.cursor.value = cursor
      },
      plane: (plane) => {
        state.plane.value = plane
      },
      stroke: () => this.edit.stroke(),
      window: (window) => {
        state.window.value = window
      },
      lost: () => this.lost(),
      drawn: () => {
        state.drawn.value++
      },
    }
  }

  private async start(viewer: Viewer, canvas: HTMLCanvasElement, signal: AbortSignal): Promise<void> {
    const { state, source } = this
    this.viewer = viewer
    const first = firstShown(state, this.parts.result.reference)
    if (!first) throw new Error('This case has no pictures to show yet.')
    const { choice, picture, shown } = first
    const [image, mask] = await Promise.all([
      source.bytes(picture.file, (share) => {
        state.message.value = `Loading ${choice.title}, ${Math.floor(share * 100)} %`
      }),
      source.mask(shown.name),
      viewer.attach(canvas),
    ])
    if (signal.aborted) return
    state.message.value = 'Drawing'
    await viewer.add(picture.key, image)
    if (signal.aborted) return
    viewer.setView(state.view.value)
    viewer.setRadiological(state.radiological.value)
    viewer.show(picture.key)
    this.edit.begin(viewer, mask)
    batch(() => {
      state.sequence.value = choice.key
      state.range.value = viewer.range()
      state.sizes.value = viewer.sizes()
      state.spacing.value = viewer.spacing()
      state.version.value = shown.version
      state.mode.value = 'look'
    })
    this.recount()
    this.marks.show()
    if (state.uncertain.value) void this.uncertainty.show(true)
    if (state.cursor.value?.label === 0) this.jump()
    viewer.drawFirst()
    state.phase.value = 'ready'
    void this.loadSurfaces(viewer, signal)
    void this.sequences.loadOthers(signal)
  }

  private async loadSurfaces(viewer: Viewer, signal: AbortSignal): Promise<void> {
    try {
      await loadSurfaces(this.source, this.parts.vocabulary, this.labels, signal, async (label, file) => {
        await viewer.addSurface(label, file)
        this.showSurfaces()
      })
    } catch (error) {
      if (!signal.aborted)
        this.say('info', `3D shows voxels, because a label's surface could not be loaded. ${sentence(error)}`)
    }
  }

  private showSurfaces(): void {
    const { state } = this
    this.viewer?.showSurfaces(surfacesAreTrue(state), (label) => seen(state.eyes.value, label))
  }

  private recount(): void {
    if (!this.viewer) return
    this.state.counts.value = this.viewer.drawing.counts()
    this.showSurfaces()
  }

  private lost(): void {
    if (this.state.phase.value !== 'ready' && this.state.phase.value !== 'loading') return
    this.edit.keep()
    this.state.phase.value = 'lost'
    this.dispose()
  }

  private dispose(): void {
    this.viewer?.close()
    this.viewer = null
  }

  /** The panel goes away. */
  close(): void {
    const drawing = this.edit.handOver()
    if (drawing) put(this.parts.caseId, this.parts.result.run, drawing)
    this.source.stop()
    this.dispose()
  }

  /** The server's picture of the case, for when nothing can be drawn here. */
  async preview(): Promise<Blob | null> {
    const name = previewName(this.source.files)
    return name ? new Blob([await this.source.bytes(name)], { type: 'image/png' }) : null
  }

  private say(kind: 'info' | 'error', text: string): void {
    this.state.notice.value = { kind, text }
  }

  /** Show all sequences in one plane, to look at; or the views again. */
  async sideBySide(on: boolean): Promise<void> {
    if (on) this.setMode('look')
    await this.linked.show(on)
  }

  /** Show one picture alone, or all four; asking again for the one that is alone shows all four. */
  setView(view: View): void {
    const { state } = this
    if (state.sideBySide.value) {
      // One plane is seen: another one is a change of it, everything else leaves.
      if (view !== 'multi' && view !== '3d') {
        state.plane.value = view
        return
      }
      state.sideBySide.value = false
    }
    state.view.value = state.view.value === view ? 'multi' : view
    const shown = state.view.value
    if (shown !== 'multi' && shown !== '3d') state.plane.value = shown
    this.viewer?.setView(shown)
  }

  setRadiological(on: boolean): void {
    this.state.radiological.value = on
    this.viewer?.setRadiological(on)
  }

  setMode(mode: Mode): void {
    const { state } = this
    const wanted = mode === 'draw' && state.before.value ? 'look' : mode
    state.mode.value = wanted
    if (wanted !== 'look') state.sideBySide.value = false
    this.viewer?.setMode(wanted)
    if (wanted === 'draw') this.edit.setPen({})
  }

  toggleMode(mode: Mode): void {
    this.setMode(this.state.mode.value === mode ? 'look' : mode)
  }

  setWindow(window: Window): void {
    this.state.window.value = window
    this.viewer?.setWindow(window)
  }

  resetWindow(): void {
    if (this.viewer) this.setWindow(this.viewer.initialWindow())
  }

  zoom(factor: number): void {
    if (this.state.sideBySide.value) this.linked.zoom(factor)
    else this.viewer?.zoom(factor)
  }

  /** Go to a label's largest slice; without a label, to the next one that the drawing has. */
  jump(label?: number): void {
    const { state, viewer } = this
    const there = this.marks.values.filter((value) => (state.counts.value[value] ?? 0) > 0)
    const here = state.cursor.value?.label ?? 0
    const target = label ?? next(there, there.includes(here) ? here : (there.at(-1) ?? 0))
    if (viewer && there.includes(target)) viewer.goToLabel(target)
  }

  goTo(mm: Vec3): void {
    this.viewer?.goTo(mm)
  }

  /** Follow an arrow or page key. */
  move(key: ArrowKey): void {
    this.viewer?.step(stepOf(key, this.state.plane.value, this.state.radiological.value))
  }

  /** Show a slice of the plane that the keys act in, counted from 0. */
  goToSlice(slice: number): void {
    const { plane, cursor } = this.state
    const axis = AXIS_OF[plane.value]
    const step: [number, number, number] = [0, 0, 0]
    step[axis] = slice - (cursor.value?.voxel[axis] ?? slice)
    this.viewer?.step(step)
  }

  /** 0 until there is a picture. */
  voxelMl(): number {
    return this.viewer && this.state.ready.value ? voxelMl(this.viewer.imageGrid().affine) : 0
  }

  /** Where the slices are on the canvas; empty while there is none. */
  places(): TilePlace[] {
    return this.viewer?.places() ?? []
  }

  snapshot(): HTMLCanvasElement | null {
    return this.viewer?.snapshot() ?? null
  }

  /** Close help, leave a mode, shrink a picture: one at a time. False if there was nothing to leave. */
  leave(): boolean {
    const { state } = this
    if (state.help.value) state.help.value = false
    else if (state.wanted.value !== null) state.wanted.value = null
    else if (state.sideBySide.value) state.sideBySide.value = false
    else if (state.mode.value !== 'look') this.setMode('look')
    else if (state.view.value !== 'multi') this.setView('multi')
    else return false
    return true
  }
}
