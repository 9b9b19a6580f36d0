/** The gateway's JSON, field for field. Written by `make docs` from /openapi.json. */

/** Which stored series is which sequence. A sequence that is left out stays as it is; null takes it away. */
export type AssignmentsIn = Partial<Record<MRSequence, string | null>>

/** Whom a file is made for. */
export const AudienceValues = ['user', 'page', 'stages'] as const
export type Audience = (typeof AudienceValues)[number]

/** What can be changed of a case. */
export interface CaseChange {
  /** your name for the case; empty takes it away. Do not use a patient's name */
  label: string
}

/** A case: how far it is, its scans, and what came out of it. */
export interface CaseOut {
  id: string
  /** 1, 2, ... within the session */
  number: number
  /** the user's name for it; it stands in the session's rows only */
  label: string
  state: CaseState
  /** seconds since 1970, UTC */
  created_at: number
  /** how often it was started */
  run: number
  /** what was chosen for the current run; null leaves it to the default */
  choice: RunOptions
  /** why it failed, one sentence */
  problem?: string | null
  /** whether the fault is the platform's, not the input's */
  problem_is_ours?: boolean | null
  stages: StageOut[]
  series: SeriesOut[]
  /** which version of the mask is current; 0 is the model's */
  version: number
  /** of the current version, per label and region ml, low_ml, high_ml; empty until it is done */
  volumes_ml: Record<string, VolumeMl>
  /** remarks on input and result, the gravest first */
  qc: Flag[]
  /** how good the result is expected to be; absent where the model cannot tell */
  expected_quality?: ExpectedQualityFacts | null
  /** no tumour found is a result, too */
  tumour_found?: boolean | null
  /** what low_ml and high_ml mean */
  interval_method?: string | null
  /** the rules of cleaning, their cluster, what they changed, volumes before and after */
  postprocess?: Postprocess | null
  /** if brightness was to be matched: method, style, and what became of each sequence */
  harmonization?: Harmonization | null
  /** which model answered */
  model?: ModelFacts | null
  /** sequences that were not given */
  missing?: string[] | null
  /** sequence whose own grid the result lies on */
  reference?: string | null
  disclaimer: string
}

/** How far a case is. */
export const CaseStateValues = ['new', 'queued', 'running', 'done', 'failed', 'cancelled'] as const
export type CaseState = (typeof CaseStateValues)[number]

/** All cases of the session, oldest first. */
export interface CasesOut {
  cases: CaseOut[]
}

/** What a run would say of the scans that a case has now. */
export interface ChecksOut {
  /** why a run would refuse them, one sentence */
  problem?: string | null
  /** remarks about the scans, the gravest first */
  remarks: Flag[]
  /** an axial slice of each scan without its skin, WebP in base64; absent if it cannot be read */
  thumbnails?: Partial<Record<MRSequence, string>>
}

/** Which case of the session a case is compared with. */
export interface ComparisonIn {
  /** id of another finished case of this session */
  earlier: string
  days?: number | null
}

/** Facts about one case and the software. */
export interface DiagnosticsOut {
  /** a hash under which the audit log knows the case */
  reference: string
  software: Record<string, string>
  /** the case as GET /api/cases/{case_id} tells it, without id and name */
  case: Record<string, unknown>
  /** what happened, oldest first */
  events: (Record<string, unknown>)[]
}

/** How good the result is expected to be, from the signs of the model's probabilities. */
export interface ExpectedQualityFacts {
  /** show it beside the headline */
  verdict: string
  /** per region that was marked: WT, TC, ET */
  regions?: Record<string, RegionQualityFacts>
  /** the cases that this was fitted on, in words */
  fitted_on?: string
}

/** What a server can do only where it was installed or set up for it. */
export const FeatureValues = ['dicom-objects', 'archive'] as const
export type Feature = (typeof FeatureValues)[number]

/** One file to download. */
export interface FileOut {
  name: string
  /** what it is, in words */
  kind: string
  /** what a person reads */
  title: string
  /** what it is for; absent if only a newer version knows */
  role?: Role | null
  /** of an image of one sequence */
  sequence?: string | null
  /** of the file of one label */
  label?: string | null
  /** the grid that it lies on */
  space?: Space | null
  /** whether people want it, or the page draws with it */
  audience?: Audience
  bytes: number
  sha256: string
  /** 0: made by the pipeline; 1, 2, ...: corrected by the user */
  version: number
}

/** What can be downloaded now. */
export interface FilesOut {
  files: FileOut[]
}

/** One fact, caution or warning about input or result. */
export interface Flag {
  /** stable machine name */
  code: string
  severity: string
  /** empty for the whole case */
  sequence?: string | null
  /** one sentence with the measured figures */
  reason: string
}

/** What harmonisation did; empty unless it was asked for. */
export interface Harmonization {
  /** the method that was asked for */
  asked?: string | null
  /** name of the style */
  style?: string | null
  /** the method's own facts */
  harmonizer?: Record<string, unknown> | null
  /** set aside as perhaps a lesion */
  suspected_lesion_ml?: number | null
  sequences?: Record<string, SequenceHarmonization>
}

/** The process answers. */
export interface HealthOut {
  status: string
}

/** One tumour part. */
export interface LabelTerm {
  /** the number in the mask */
  value: number
  key: string
  name: string
  /** sRGB hex */
  colour: string
}

/** What a session may do. */
export interface Limits {
  /** largest body of one upload */
  max_upload_bytes: number
  /** cases that may be queued or running at once */
  max_cases_in_work: number
  /** an idle session is deleted after this long */
  session_hours: number
}

/** Pages to read; each is absent where the server does not know of one. */
export interface Links {
  /** the documentation of this version */
  docs?: string | null
  /** the card of the model that runs if none is chosen */
  model_card?: string | null
}

/** The four sequences, by their BraTS 2023+ names; the order is that of the channels. */
export const MRSequenceValues = ['t1n', 't1c', 't2w', 't2f'] as const
export type MRSequence = (typeof MRSequenceValues)[number]

/** Which model answered, and how it ran. */
export interface ModelFacts {
  id?: string
  version?: string | null
  /** of the bundle */
  sha256?: string | null
  licence?: string | null
  label_schema?: string | null
  /** what of the head it wants to see */
  head_state?: string | null
  /** one number: its voxels are cubes */
  spacing_mm?: number | number[] | null
  device?: string | null
  note?: string | null
  /** networks of an ensemble */
  members?: number | null
  precision?: string | null
  backend?: string | null
  mirroring?: boolean | null
  remark?: string | null
}

/** A model bundle that a run can choose. */
export interface ModelOut {
  id: string
  version?: string
  title?: string
  licence?: string
  /** whether it answers if none is chosen */
  default?: boolean
  /** a word to the reader */
  note?: string
  /** what it reads, in order */
  sequences?: MRSequence[]
  /** those that it can do without */
  optional?: MRSequence[]
  /** how many of them at once */
  max_missing?: number
  /** one of these has to be there */
  at_least_one_of?: MRSequence[]
  /** of the bundle */
  sha256?: string
}

/** The model bundles that are installed. */
export interface ModelsOut {
  models: ModelOut[]
}

/** Where key steps are told. Both are deleted with the session. */
export interface Notify {
  /** https address that gets a JSON post */
  webhook?: string | null
  /** address for e-mail */
  email?: string | null
}

/** How an option of a run is asked for. */
export const OptionFormValues = ['model', 'choice', 'tick'] as const
export type OptionForm = (typeof OptionFormValues)[number]

/** One option of a run. */
export interface OptionTerm {
  /** its field in the body of POST /run */
  key: string
  form: OptionForm
  title: string
  /** a second sentence; may be empty */
  hint: string
  /** what a choice says for nothing, yes and no; a model's for nothing */
  choices: string[]
  default: boolean | null
}

/** What the clean-up changed. Volumes are counted on the atlas grid. */
export interface Postprocess {
  /** `none` where none were applied */
  rules?: string | null
  changed?: boolean
  before_ml?: Record<string, number>
  after_ml?: Record<string, number>
  /** adaptive rules: became background */
  removed_ml?: Record<string, number> | null
  /** adaptive rules: another label */
  renamed_ml?: Record<string, number> | null
  /** whose thresholds were applied */
  cluster?: number | null
  chosen_by?: string | null
  /** the next nearest cluster */
  runner_up?: number | null
  /** 0: a tie with the runner-up; 1: on its own centre */
  lead?: number | null
  /** why the model's own rules were not applied */
  reason?: string | null
}

/** An RFC 9457 problem: one sentence, and its parts where there are any. */
export interface Problem {
  /** kind of problem, a relative URI */
  type?: string
  /** the status in words */
  title: string
  /** the HTTP status */
  status: number
  /** one sentence for people */
  detail: string
  /** what is wrong */
  what?: string | null
  /** what would have been right */
  expected?: string | null
  /** what was found */
  got?: string | null
  /** what to do about it */
  fix?: string | null
}

/** Everything that the gateway needs answers. */
export interface ReadyOut {
  status: string
  parts: Record<string, string>
}

/** What was deleted. Kept nowhere but in the audit log, which knows the session by `reference` only. */
export interface ReceiptOut {
  reference: string
  cases: number
  files: number
  bytes: number
  /** running stages that were stopped */
  stopped: number
  /** seconds since 1970, UTC */
  at: number
  reason: string
  /** what may still be there for a while, and until when: sentences; empty if all is gone */
  unconfirmed: string[]
}

/** What outline of one region is to be expected. */
export interface RegionQualityFacts {
  /** expected Dice against an expert's mask */
  dice: number
  /** nine of ten cases of the fit lay between low and high */
  low: number
  high: number
  /** chance that the Dice is below 0.75 (WT) or 0.6 (TC, ET) */
  poor_chance: number
  verdict: string
}

/** A composite of tumour parts. */
export interface RegionTerm {
  key: string
  name: string
  /** label values that belong to it */
  labels: number[]
}

/** What a file is for. The order is that in which a person wants them. */
export const RoleValues = ['segmentation', 'corrected-segmentation', 'corrected-report', 'corrected-picture', 'corrected-volumes', 'corrected-facts', 'report', 'picture', 'volumes', 'lesions', 'facts', 'uncertainty', 'image', 'model-segmentation', 'view', 'harmonized-view', 'uncertainty-view', 'brain-view', 'quick-look', 'corrected-quick-look', 'mesh', 'uploaded', 'aligned', 'harmonized', 'prediction', 'notes'] as const
export type Role = (typeof RoleValues)[number]

/** What is chosen for a run. All may be left out. */
export interface RunOptions {
  /** id of GET /api/models */
  model?: string | null
  /** bring intensities to one style */
  harmonize?: boolean | null
  /** true: the scans are in atlas space already; absent: they decide */
  preprocessed?: boolean | null
  /** false leaves the model's answer as it is */
  postprocess?: boolean
  /** also write where the mask is uncertain, 0 to 1 on the atlas grid */
  uncertainty_map?: boolean
  /** picture and report show the whole head, the face included */
  show_head?: boolean
  /** delivered images without a face; what the model sees does not change */
  deface?: boolean
}

/** A corrected mask that was kept. */
export interface SegmentationSaved {
  version: number
  name: string
  volumes_ml: Record<string, VolumeMl>
  warnings: string[]
}

/** One version of the mask. */
export interface SegmentationVersion {
  /** 0 is the model's */
  version: number
  name: string
  made_by: 'model' | 'user'
  volumes_ml: Record<string, VolumeMl>
}

/** All versions of the mask, the model's first; empty until the case is done. */
export interface SegmentationsOut {
  versions: SegmentationVersion[]
}

/** What became of one sequence; figures of the check of its anatomy. */
export interface SequenceHarmonization {
  /** whether the model saw the harmonized image */
  changed: boolean
  /** why the original was passed on */
  reason?: string | null
  /** similarity of gradient magnitudes before and after */
  edge_ssim?: number | null
  lesion_to_white_before?: number | null
  lesion_to_white_after?: number | null
  /** from the style, in units of the brain's median */
  distance_before?: number | null
  distance_after?: number | null
}

/** One of the four sequences. */
export interface SequenceTerm {
  key: MRSequence
  title: string
  /** whether a case can be run without it */
  optional: boolean
  hint: string
}

/** What an archive held. */
export interface SeriesFound {
  series: SeriesOut[]
  /** why some are not assigned, one sentence */
  problem?: string | null
}

/** One stored scan. */
export interface SeriesOut {
  /** its name within the case */
  key: string
  /** which of the four; null until somebody says so */
  sequence: MRSequence | null
  /** voxels along i, j, k in file order */
  shape: number[]
  /** voxel size along i, j, k */
  spacing_mm: number[]
  /** directions of i, j, k */
  orientation: string
  /** what looks odd */
  warnings: string[]
  /** size of the stored .nii */
  bytes: number
  /** its hash, which is its ETag, too */
  sha256: string
  /** how sure the sequence is, 0 to 1 (DICOM) */
  confidence?: number | null
  /** why it was taken for that sequence (DICOM) */
  reason?: string | null
}

/** A scan that was just stored, and what became of others. */
export interface SeriesStored {
  /** its name within the case */
  key: string
  /** which of the four; null until somebody says so */
  sequence: MRSequence | null
  /** voxels along i, j, k in file order */
  shape: number[]
  /** voxel size along i, j, k */
  spacing_mm: number[]
  /** directions of i, j, k */
  orientation: string
  /** what looks odd */
  warnings: string[]
  /** size of the stored .nii */
  bytes: number
  /** its hash, which is its ETag, too */
  sha256: string
  /** how sure the sequence is, 0 to 1 (DICOM) */
  confidence?: number | null
  /** why it was taken for that sequence (DICOM) */
  reason?: string | null
  /** the scan in whose place it is; deleted */
  replaced?: SeriesOut | null
  /** keys of scans that stay, but lost the sequence to it */
  unassigned?: string[]
}

/** A new session. The token is told once, here; whoever has it may do everything in the session. */
export interface SessionCreated {
  id: string
  /** seconds since 1970, UTC */
  created_at: number
  /** seconds since 1970, UTC */
  expires_at: number
  close_with_page: boolean
  notify: Record<string, string>
  cases: CaseOut[]
  limits: Limits
  /** for `Authorization: Bearer ...`; browsers get a cookie as well */
  token: string
}

/** Opens a session. Without a body the call itself counts as accepting the terms of GET /api/vocabulary. */
export interface SessionIn {
  /** false is refused: nothing is done without the terms */
  terms_accepted?: boolean
}

/** A session and all that is in it. */
export interface SessionOut {
  id: string
  /** seconds since 1970, UTC */
  created_at: number
  /** seconds since 1970, UTC */
  expires_at: number
  close_with_page: boolean
  notify: Record<string, string>
  cases: CaseOut[]
  limits: Limits
}

/** Changes what is given. */
export interface SessionPatch {
  /** delete the session when the page closes */
  close_with_page?: boolean | null
  /** replaces what was set before; empty values switch it off */
  notify?: Notify | null
}

/** The grid that an image lies on. */
export const SpaceValues = ['native', 'atlas'] as const
export type Space = (typeof SpaceValues)[number]

/** The services' stages, in the order in which a case passes them. */
export const StageValues = ['preprocess', 'harmonize', 'segment', 'postprocess'] as const
export type Stage = (typeof StageValues)[number]

/** One stage of the current run. */
export interface StageOut {
  stage: Stage
  /** the stage in words */
  title: string
  state: StageState
  /** how much of it is done */
  share: number
  /** its usual share of a whole run of such a case */
  weight: number
  /** how long it took when the shares were measured, on two cores */
  usual_seconds: number
  /** what is being done */
  message: string
  /** how long it took, or has taken so far; absent while it waits */
  seconds?: number | null
  /** how often it was begun */
  attempts: number
  /** last sign of life of the process that works on it */
  seen_at?: number | null
}

/** How far a stage of the current run is. */
export const StageStateValues = ['waiting', 'running', 'done', 'failed', 'cancelled'] as const
export type StageState = (typeof StageStateValues)[number]

/** One stage. */
export interface StageTerm {
  key: Stage
  title: string
  /** how long it took of a raw case when that was measured, on two cores */
  usual_seconds: number
}

/** What a search found, oldest first; a hundred at most. */
export interface StudiesFound {
  studies: StudyFound[]
}

/** A study that a search has found. */
export interface StudyChoice {
  study_uid: string
}

/** One MR study of the archive, without a name. */
export interface StudyFound {
  /** StudyInstanceUID */
  uid: string
  /** YYYYMMDD; empty if the archive does not say */
  date: string
  /** how many; 0 if the archive does not say */
  series: number
  /** how many; 0 if the archive does not say */
  images: number
}

/** Which studies of the archive are wanted; one of the two has to be there. */
export interface StudySearch {
  /** PatientID as it is, without * and ? */
  patient_id?: string
  /** YYYYMMDD, or YYYYMMDD-YYYYMMDD */
  date?: string
}

/** Colours and words. */
export interface VocabularyOut {
  labels: LabelTerm[]
  regions: RegionTerm[]
  sequences: SequenceTerm[]
  stages: StageTerm[]
  /** what can be chosen for a run */
  options: OptionTerm[]
  states: Record<string, string>
  terms: string[]
  disclaimer: string
  version: string
  /** kind of file -> what a person reads */
  kinds: Record<string, string>
  links: Links
  /** what this server can do that others cannot */
  features?: Feature[]
}

/** Volume of a label or region on the scan's own grid. */
export interface VolumeMl {
  ml: number
  /** low end of the interval */
  low_ml?: number | null
  /** high end of the interval */
  high_ml?: number | null
}

/** Whether the caller may open a session, and how one signs in. */
export interface WhoAmIOut {
  authenticated: boolean
  /** how the caller is known */
  method: 'loopback' | 'token' | 'oidc' | 'none'
  /** how one can sign in */
  ways: ('token' | 'oidc')[]
  /** where a browser signs in */
  sign_in_url?: string | null
}
