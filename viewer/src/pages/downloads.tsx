/** Every file of a finished case, what people want most first. */
import { RoleValues } from '../api/schema'
import type { FileOut } from '../api/types'
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

export function DownloadsCard(props: { caseId: string; files: FileOut[] }) {
  const wanted = props.files.filter((file) => file.audience !== 'page').sort((one, other) => rank(one) - rank(other))
  const rest = props.files.filter((file) => file.audience === 'page')
  const report = props.files.find((file) => file.role === 'report')
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
          <Line key={file.name} caseId={props.caseId} file={file} />
        ))}
      </ul>
      {rest.length > 0 && (
        <details class="fold">
          <summary>Files that this page itself uses ({rest.length})</summary>
          <ul class="downloads fold-body">
            {rest.map((file) => (
              <Line key={file.name} caseId={props.caseId} file={file} />
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}
