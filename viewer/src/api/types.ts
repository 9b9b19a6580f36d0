/** The gateway's JSON, field for field. Times are seconds since 1970; ids are opaque. */

export type SequenceKey = 't1n' | 't1c' | 't2w' | 't2f'
export const SEQUENCES: readonly SequenceKey[] = ['t1n', 't1c', 't2w', 't2f']

export type StageKey = 'preprocess' | 'harmonize' | 'segment' | 'postprocess'
export type CaseState = 'new' | 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
export type StageState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled'

/** RFC 9457 problem+json. */
export interface ProblemJson {
  type?: string
  title?: string
  status?: number
  detail?: string
  what?: string
  expected?: string
  got?: string
  fix?: string
}

export interface SeriesOut {
  key: string
  sequence: SequenceKey | null
  shape: number[]
  spacing_mm: number[]
  orientation: string
  warnings: string[]
  bytes: number
  confidence?: number | null
  reason?: string | null
}

export interface StageOut {
  stage: StageKey
  title: string
  state: StageState
  /** 0 to 1 */
  share: number
  message: string
  seconds?: number | null
  attempts: number
  seen_at?: number | null
}

/** Millilitres of one label or region; the interval is absent where none is known. */
export interface Volume {
  ml: number
  low_ml?: number
  high_ml?: number
}
/** Label or region key -> volume. An absent label may be missing here: it counts as 0. */
export type Volumes = Record<string, Volume | number>

export interface QcFlag {
  code: string
  severity: string
  sequence?: string | null
  reason: string
}

export interface Postprocess {
  /** `none` where none were applied. */
  rules?: string
  changed: boolean
  before_ml?: Record<string, number>
  after_ml?: Record<string, number>
  /** Of adaptive rules: what became background, and what became another label. */
  removed_ml?: Record<string, number>
  renamed_ml?: Record<string, number>
  cluster?: number | null
  chosen_by?: string
  runner_up?: number
  /** 0 a tie with the runner-up, 1 a case on its own centre. */
  lead?: number
  /** Why the model's own rules were not applied. */
  reason?: string
}

/** What brightness matching did; there is none where it was not asked for. */
export interface Harmonization {
  /** The method. */
  asked: string
  style?: string
  /** Per given sequence; the reason is why the original was passed on. */
  sequences: Record<string, { changed: boolean; reason?: string }>
}

export interface ModelUsed {
  id: string
  version?: string
  licence?: string
  sha256?: string
  note?: string
  device?: string
  /** Of an ensemble. */
  members?: number
  precision?: string
  mirroring?: boolean
}

export interface RunChoice {
  model?: string | null
  harmonize?: boolean | null
  preprocessed?: boolean | null
  postprocess?: boolean
}

export interface CaseOut {
  id: string
  number: number
  state: CaseState
  created_at: number
  run: number
  choice: RunChoice
  problem?: string | null
  problem_is_ours?: boolean | null
  stages: StageOut[]
  series: SeriesOut[]
  volumes_ml: Volumes
  qc: QcFlag[]
  tumour_found?: boolean | null
  /** What the interval of a volume means, as a phrase. */
  interval_method?: string | null
  postprocess?: Postprocess | null
  harmonization?: Harmonization | null
  model?: ModelUsed | null
  /** Sequences that the result had to do without. */
  missing?: string[] | null
  disclaimer: string
  /** The sequence whose grid the masks live on. */
  reference?: string | null
}

export interface Limits {
  max_upload_bytes: number
  max_cases_in_work: number
  session_hours: number
}

export interface Notify {
  webhook?: string
  email?: string
}

export interface SessionOut {
  id: string
  /** Only in the answer that creates the session. */
  token?: string
  created_at: number
  expires_at: number
  close_with_page: boolean
  notify: Notify
  cases: CaseOut[]
  limits: Limits
}

export interface Receipt {
  reference: string
  cases: number
  files: number
  bytes: number
  stopped: number
  at: number
  reason: string
}

export interface FileOut {
  name: string
  kind: string
  bytes: number
  sha256: string
  version: number
}

export interface SegmentationVersion {
  version: number
  name: string
  made_by: 'model' | 'user'
  volumes_ml: Volumes
}

/** The answer to a corrected mask. */
export interface SegmentationSaved {
  version: number
  name: string
  volumes_ml: Volumes
  warnings: string[]
}

export interface DicomFound {
  series: SeriesOut[]
  problem?: string | null
}

export interface ModelOut {
  id: string
  title?: string
  licence?: string
  version?: string
  note?: string
  default?: boolean
  /** What the model reads. Those in `optional` it can do without, but at most `max_missing` of them at once. */
  sequences?: SequenceKey[]
  optional?: SequenceKey[]
  max_missing?: number
  /** One of these has to be there; empty or absent if it does not matter which. */
  at_least_one_of?: SequenceKey[]
}

export interface WhoAmI {
  authenticated: boolean
  method: 'loopback' | 'token' | 'oidc' | 'none'
  /** How one can sign in. */
  ways?: ('token' | 'oidc')[]
  sign_in_url?: string
}

export interface LabelWords {
  value: number
  key: string
  name: string
  /** #RRGGBB */
  colour: string
}
export interface RegionWords {
  key: string
  name: string
  labels: (string | number)[]
}
export interface SequenceWords {
  key: SequenceKey
  title: string
  optional: boolean
  hint: string
}

/** The one table of words and colours that everything shows. */
export interface Words {
  labels: LabelWords[]
  regions: RegionWords[]
  sequences: SequenceWords[]
  stages: { key: StageKey; title: string }[]
  states: Record<string, string>
  terms: string[]
  disclaimer: string
  version: string
  kinds: Record<string, string>
}

interface EventBase {
  /** The event's number: what Last-Event-ID repeats. */
  number: number
  case_id: string
  at: number
}
export interface SeriesEvent extends EventBase {
  kind: 'series'
  sequence?: SequenceKey | null
  key: string
}
export interface StateEvent extends EventBase {
  kind: 'state'
  state: CaseState
  run: number
  problem?: string
}
export interface StageEvent extends EventBase {
  kind: 'stage'
  stage: StageKey
  state: StageState
  run: number
  seconds?: number
  problem?: string
}
export interface ProgressEvent extends EventBase {
  kind: 'progress'
  stage: StageKey
  share: number
  message: string
  run: number
}
export interface SegmentationEvent extends EventBase {
  kind: 'segmentation'
  version: number
}
export type CaseEvent = SeriesEvent | StateEvent | StageEvent | ProgressEvent | SegmentationEvent
