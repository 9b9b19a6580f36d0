/** Every file of a finished case, what people want most first. */
import type { FileOut, Words } from '../api/types'
import { bytes } from '../app/format'
import { api } from '../app/state'

const FIRST = [
  "segmentation on the scan's own grid",
  'corrected segmentation',
  'report',
  'picture',
  'volumes as a table',
]
const MACHINE = new Set(['view', 'view after harmonisation', 'mesh'])

const rank = (file: FileOut): number => {
  const at = FIRST.indexOf(file.kind)
  return at < 0 ? FIRST.length : at
}

function Line(props: { caseId: string; file: FileOut; table: Words }) {
  const { file } = props
  const kind = props.table.kinds[file.kind] ?? file.kind
  return (
    <li class="download" data-file-name={file.name}>
      <a href={api.fileUrl(props.caseId, file.name)} download={file.name}>
        {kind ? kind.charAt(0).toUpperCase() + kind.slice(1) : file.name}
        {file.version > 0 && ` ${file.version}`}
      </a>
      <span class="soft number nobreak">{bytes(file.bytes)}</span>
      <code class="download-name">{file.name}</code>
    </li>
  )
}

export function DownloadsCard(props: { caseId: string; files: FileOut[]; table: Words }) {
  const wanted = props.files.filter((file) => !MACHINE.has(file.kind)).sort((one, other) => rank(one) - rank(other))
  const rest = props.files.filter((file) => MACHINE.has(file.kind))
  const report = props.files.find((file) => file.kind === 'report')
  return (
    <section class="card" aria-labelledby="downloads-title" data-files={props.files.length}>
      <h2 id="downloads-title">Downloads</h2>
      {report && (
        <p>
          <a class="button" href={api.fileUrl(props.caseId, report.name, true)} target="_blank" rel="noreferrer">
            Open the report<span class="sr-only"> in a new tab</span>
          </a>
        </p>
      )}
      {props.files.some((file) => file.version > 0) && (
        <p class="soft small-text" data-corrected="">
          Report, picture, tables and atlas files describe the model’s answer, not your corrections.
        </p>
      )}
      <ul class="downloads">
        {wanted.map((file) => (
          <Line key={file.name} caseId={props.caseId} file={file} table={props.table} />
        ))}
      </ul>
      {rest.length > 0 && (
        <details class="fold">
          <summary>Files that this page itself uses ({rest.length})</summary>
          <ul class="downloads fold-body">
            {rest.map((file) => (
              <Line key={file.name} caseId={props.caseId} file={file} table={props.table} />
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}
