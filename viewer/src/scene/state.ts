/** What the viewer panel shows and does, as signals. Nothing here knows the library or the network. */
import { computed, type ReadonlySignal, type Signal, signal } from '@preact/signals'
import type { SegmentationVersion } from '../api/types'
import type { DiameterLines } from '../app/diameterlines'
import { type Frame, WHOLE } from './frame'
import type { Plane, Vec3 } from './geometry'
import type { Range, Window } from './window'

export type View = 'multi' | Plane | '3d'
export const VIEWS: readonly View[] = ['multi', 'axial', 'coronal', 'sagittal', '3d']
/** What dragging with the left button does. */
export type Mode = 'look' | 'window' | 'draw'
export type Style = 'both' | 'fill' | 'outline'
export const STYLES: readonly Style[] = ['both', 'fill', 'outline']
/** Widths in voxels; odd, so that a brush has a middle. */
export const BRUSHES: readonly number[] = [1, 3, 5, 9, 15]
/** How many strokes can be taken back. */
export const UNDO_DEPTH = 15

export type Phase = 'loading' | 'ready' | 'lost' | 'unsupported' | 'failed'

export interface Pen {
  label: number
  size: number
  erase: boolean
  /** Fill what the stroke encloses. */
  fill: boolean
  /** A stroke changes voxels of these intensities of the picture on screen only; null: all. */
  limit: Window | null
  /** Not 0 where a stroke may change voxels, in the scene's order: the brain; null: everywhere. */
  brain: Uint8Array | null
}

export interface Cursor {
  mm: Vec3
  /** Scene voxel, counted from 0 at the patient's left, back and bottom. */
  voxel: Vec3
  intensity: number
  label: number
}

/** Strokes since the drawing was loaded, and which of them the server has. */
export interface Edits {
  /** How many strokes the drawing holds. */
  made: number
  /** How many of them can be taken back. */
  undoable: number
  /** How many of those that were taken back can be done again. */
  redoable: number
  /** `made` when the drawing was last equal to a version of the server; -1 when no undo leads there any more. */
  saved: number
}
export const NO_EDITS: Edits = { made: 0, undoable: 0, redoable: 0, saved: 0 }

export const unsaved = (edits: Edits): boolean => edits.made !== edits.saved

/** After one more stroke. What was saved beyond the present point can never be reached again. */
export const afterStroke = (edits: Edits): Edits => ({
  made: edits.made + 1,
  undoable: Math.min(edits.undoable + 1, UNDO_DEPTH),
  redoable: 0,
  saved: edits.saved > edits.made ? -1 : edits.saved,
})

export const afterUndo = (edits: Edits): Edits =>
  edits.undoable < 1
    ? edits
    : {
        ...edits,
        made: edits.made - 1,
        undoable: edits.undoable - 1,
        redoable: edits.redoable + 1,
      }

export const afterRedo = (edits: Edits): Edits =>
  edits.redoable < 1
    ? edits
    : { ...edits, made: edits.made + 1, undoable: edits.undoable + 1, redoable: edits.redoable - 1 }

export const afterSave = (edits: Edits): Edits => ({ ...edits, saved: edits.made })

/** Which labels are seen: each has its eye, and one key hides them all without forgetting the eyes. */
export interface Eyes {
  closed: ReadonlySet<number>
  allHidden: boolean
}
export const ALL_SEEN: Eyes = { closed: new Set(), allHidden: false }

export const seen = (eyes: Eyes, label: number): boolean => !eyes.allHidden && !eyes.closed.has(label)

/** Toggle one label; while all are hidden that shows this one label alone. */
export function toggled(eyes: Eyes, label: number, labels: readonly number[]): Eyes {
  if (eyes.allHidden) return { closed: new Set(labels.filter((other) => other !== label)), allHidden: false }
  const closed = new Set(eyes.closed)
  if (!closed.delete(label)) closed.add(label)
  return { closed, allHidden: false }
}

/** Hide all, or show all again as they were; eyes that were all closed open. */
export function toggledAll(eyes: Eyes, labels: readonly number[]): Eyes {
  const none = eyes.allHidden || labels.every((label) => eyes.closed.has(label))
  if (!none) return { closed: eyes.closed, allHidden: true }
  return labels.every((label) => eyes.closed.has(label)) ? ALL_SEEN : { closed: eyes.closed, allHidden: false }
}

/** The item after (or before) another in a ring. */
export function next<T>(items: readonly T[], current: T, by = 1): T {
  const at = items.indexOf(current)
  return items[(at + by + items.length) % items.length] as T
}

/** Millilitres of every label and region, counted from the drawing. */
export function volumesFromCounts(
  counts: ArrayLike<number>,
  voxelMl: number,
  labels: readonly { value: number; key: string }[],
  regions: readonly { key: string; labels: readonly (string | number)[] }[],
): Record<string, number> {
  const volumes: Record<string, number> = {}
  for (const { value, key } of labels) volumes[key] = (counts[value] ?? 0) * voxelMl
  for (const region of regions) {
    const parts = region.labels.map((part) =>
      typeof part === 'number' ? (counts[part] ?? 0) * voxelMl : (volumes[part] ?? 0),
    )
    volumes[region.key] ??= parts.reduce((sum, ml) => sum + ml, 0)
  }
  return volumes
}

export interface Notice {
  kind: 'info' | 'error'
  text: string
}

/** One row of buttons' worth of sequence: what can be shown of it. */
export interface SequenceChoice {
  key: string
  title: string
  /** The file to show; null if the scan was not given and nothing stands in for it. */
  file: string | null
  /** The same after brightness matching; null where that changed nothing. */
  matchedFile: string | null
  mark: '' | 'missing' | 'synthetic'
}

/** A file to show, and the name that the viewer keeps it under. */
export interface Picture {
  key: string
  file: string
}

/** The picture of a sequence: after brightness matching if that is wanted and there is one, else the scan. */
export function pictureOf({ key, file, matchedFile }: SequenceChoice, matched: boolean): Picture | null {
  if (matched && matchedFile) return { key: `${key}-harmonized`, file: matchedFile }
  return file === null ? null : { key, file }
}

export class SceneState {
  readonly phase: Signal<Phase> = signal('loading')
  /** What is being loaded, or why nothing can be shown. */
  readonly message: Signal<string> = signal('Loading the viewer')
  readonly notice: Signal<Notice | null> = signal(null)

  readonly view: Signal<View> = signal('multi')
  /** All sequences are shown in one plane, in place of the views. */
  readonly sideBySide: Signal<boolean> = signal(false)
  /** What of them is seen, while they are side by side. */
  readonly frame: Signal<Frame> = signal(WHOLE)
  /** The plane that arrows, page keys and the space bar act in. */
  readonly plane: Signal<Plane> = signal('axial')
  readonly radiological: Signal<boolean> = signal(true)
  readonly mode: Signal<Mode> = signal('look')
  readonly help: Signal<boolean> = signal(false)
  readonly keysOn: Signal<boolean> = signal(true)

  readonly sequences: Signal<readonly SequenceChoice[]> = signal([])
  readonly sequence: Signal<string> = signal('')
  /** Show sequences after brightness matching, those that it changed. */
  readonly matched: Signal<boolean> = signal(false)
  readonly sequenceBusy: Signal<string> = signal('')
  readonly window: Signal<Window> = signal({ low: 0, high: 1 })
  readonly range: Signal<Range> = signal({ min: 0, max: 1 })

  readonly eyes: Signal<Eyes> = signal(ALL_SEEN)
  readonly style: Signal<Style> = signal('both')
  readonly opacity: Signal<number> = signal(0.4)
  readonly counts: Signal<Uint32Array> = signal(new Uint32Array(256))

  readonly pen: Signal<Pen> = signal({ label: 1, size: 3, erase: false, fill: false, limit: null, brain: null })
  readonly edits: Signal<Edits> = signal(NO_EDITS)
  readonly saving: Signal<boolean> = signal(false)
  readonly versions: Signal<readonly SegmentationVersion[]> = signal([])
  readonly version: Signal<number> = signal(0)
  /** The model's answer before post-processing is on screen, for looking only. */
  readonly before: Signal<boolean> = signal(false)
  readonly canCompare: Signal<boolean> = signal(false)
  /** The case has the mask of its brain. */
  readonly hasBrain: Signal<boolean> = signal(false)
  /** The map of where the model's answer is uncertain; null if the case has none. */
  readonly uncertaintyFile: Signal<string | null> = signal(null)
  /** What its values mean, as a sentence. */
  readonly uncertaintyMeaning: Signal<string> = signal('')
  /** It is laid over the pictures. */
  readonly uncertain: Signal<boolean> = signal(false)
  /** A version that the mask on screen is compared with, in the scene's order. */
  readonly against: Signal<{ version: number; labels: Uint8Array } | null> = signal(null)
  /** A version that waits for the user to give up unsaved strokes. */
  readonly wanted: Signal<number | null> = signal(null)

  /** Diameters that are drawn over the pictures; null while nobody looks at them. */
  readonly lines: Signal<DiameterLines | null> = signal(null)
  readonly cursor: Signal<Cursor | null> = signal(null)
  /** How many slices there are along the scene's axes. */
  readonly sizes: Signal<Vec3> = signal([1, 1, 1])

  /** Millimetres between slices along the scene's axes. */
  readonly spacing: Signal<Vec3> = signal([1, 1, 1])
  /** Counts drawings of the pictures, so that what lies over them follows. */
  readonly drawn: Signal<number> = signal(0)

  readonly choice: ReadonlySignal<SequenceChoice | undefined> = computed(() =>
    this.sequences.value.find(({ key }) => key === this.sequence.value),
  )
  readonly canMatch: ReadonlySignal<boolean> = computed(() =>
    this.sequences.value.some(({ matchedFile }) => matchedFile !== null),
  )
  /** What is on screen is the picture after brightness matching. */
  readonly matchedShown: ReadonlySignal<boolean> = computed(
    () => this.matched.value && !!this.choice.value?.matchedFile,
  )
  readonly unsaved: ReadonlySignal<boolean> = computed(() => unsaved(this.edits.value))
  readonly ready: ReadonlySignal<boolean> = computed(() => this.phase.value === 'ready')
  readonly drawing: ReadonlySignal<boolean> = computed(() => this.mode.value === 'draw' && !this.before.value)
}
