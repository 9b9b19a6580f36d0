/** What the page calls the gateway's JSON; its fields are those of `schema.ts`. Times are seconds since 1970. */
import type {
  CaseState,
  Flag,
  ModelFacts,
  MRSequence,
  Problem,
  ReceiptOut,
  RunOptions,
  SeriesFound,
  SessionOut as Session,
  SessionCreated,
  Stage,
  StageState,
  VocabularyOut,
  VolumeMl,
  WhoAmIOut,
} from './schema'
import { MRSequenceValues } from './schema'

export type {
  CaseOut,
  CaseState,
  ChecksOut,
  FileOut,
  Harmonization,
  LabelTerm,
  Limits,
  ModelOut,
  Notify,
  OptionTerm,
  Postprocess,
  Role,
  SegmentationSaved,
  SegmentationVersion,
  SequenceTerm,
  SeriesOut,
  StageOut,
  StageState,
} from './schema'

export type SequenceKey = MRSequence
export const SEQUENCES: readonly SequenceKey[] = MRSequenceValues
export type StageKey = Stage

/** RFC 9457 problem+json; a proxy's may lack any of it. */
export type ProblemJson = Partial<Problem>

/** Millilitres of one label or region; the interval is absent where none is known. */
export type Volume = VolumeMl
/** Label or region key -> volume. An absent label may be missing here: it counts as 0. */
export type Volumes = Record<string, Volume>
export type QcFlag = Flag
export type ModelUsed = ModelFacts
export type RunChoice = RunOptions
export type SessionOut = Session & Partial<Pick<SessionCreated, 'token'>>
export type Receipt = ReceiptOut
export type DicomFound = SeriesFound
export type WhoAmI = WhoAmIOut
/** The one table of words and colours that everything shows. */
export type Vocabulary = VocabularyOut

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
