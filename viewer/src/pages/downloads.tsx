/** Every file of a finished case, what people want most first. */
import { RoleValues } from '../api/schema'
import type { CaseOut, FileOut, Role } from '../api/types'
import { bytes } from '../app/format'
import { api } from '../app/state'

/** In the order of the roles; what lies in atlas space comes after what lies on the scan. */
const rank = (file: FileOut): number => {
  const at = file.role ? RoleValues.indexOf(file.role) : RoleValues.length
  return file.space === 'atlas' ? at + RoleValues.length : at
}

function Line(props: { caseId: string; file: FileOut }) {
  const { file } = props
  return (
    <li class="download" data-file-name={file.name}>
      <a href={api.fileUrl(props.caseId, file.name)} download={file.name}>
        {file.title}
        {file.version > 0 && ` ${file.version}`}
      </a>
      <span class="soft number nobreak">{bytes(file.bytes)}</span>
      <code class="download-name">{file.name}</code>
    </li>
  )
}

/** What a correction has of its own, and what the model's file of the same use is. */
const CORRECTED: Partial<Record<Role, Role>> = {
  'corrected-segmentation': 'segmentation',
  'corrected-report': 'report',
  'corrected-picture': 'picture',
  'corrected-volumes': 'volumes',
  'corrected-facts': 'facts',
}

/** Files of the mask that is current, and those of the masks before it; what is of no mask is current. */
export function byVersion(files: readonly FileOut[], current: number): { now: FileOut[]; earlier: FileOut[] } {
  const replaced = new Set(
    files.flatMap(({ version, role }) => (version === current && role ? (CORRECTED[role] ?? []) : [])),
  )
  const outdated = ({ version, role, space }: FileOut) =>
    version > 0 ? version !== current : current > 0 && !!role && replaced.has(role) && space !== 'atlas'
  return { now: files.filter((file) => !outdated(file)), earlier: files.filter(outdated) }
}

function Fold(props: { caseId: string; title: string; name: string; files: FileOut[] }) {
  if (!props.files.length) return null
  return (
    <details class="fold" data-fold={props.name}>
      <summary>
        {props.title} ({props.files.length})
      </summary>
      <ul class="downloads fold-body">
        {props.files.map((file) => (
          <Line key={file.name} caseId={props.caseId} file={file} />
        ))}
      </ul>
    </details>
  )
}

export function DownloadsCard(props: { found: CaseOut; files: FileOut[] }) {
  const { id, version } = props.found
  const { now, earlier } = byVersion(props.files, version)
  const ranked = (files: FileOut[]) => files.sort((one, other) => rank(one) - rank(other))
  const wanted = ranked(now.filter((file) => file.audience !== 'page'))
  const report =
    wanted.find((file) => file.role === 'corrected-report') ?? wanted.find((file) => file.role === 'report')
  return (
    <section class="card" aria-labelledby="downloads-title" data-files={props.files.length}>
      <h2 id="downloads-title">Downloads</h2>
      {report && (
        <p>
          <a
            class="button"
            href={api.fileUrl(id, report.name, true)}
            target="_blank"
            rel="noreferrer"
            data-report={report.version}
          >
            Open the report<span class="sr-only"> in a new tab</span>
          </a>
        </p>
      )}
      {version > 0 && (
        <p class="soft small-text" data-corrected={version}>
          These are the files of your correction {version}. What lies in atlas space is of the model’s result.
        </p>
      )}
      <ul class="downloads">
        {wanted.map((file) => (
          <Line key={file.name} caseId={id} file={file} />
        ))}
      </ul>
      <Fold caseId={id} title="The model’s result and earlier corrections" name="earlier" files={ranked(earlier)} />
      <Fold
        caseId={id}
        title="Files that this page itself uses"
        name="page"
        files={now.filter((file) => file.audience === 'page')}
      />
    </section>
  )
}
