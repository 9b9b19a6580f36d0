/** One of the four named places for a scan. */
import { useId, useRef } from 'preact/hooks'
import type { CaseOut, SequenceTerm } from '../api/types'
import { entriesOf, useDrop } from '../app/drop'
import { bytes, firstUpper, percent, shape, spacing } from '../app/format'
import { Act, Bar } from '../app/parts'
import { sentAs } from '../app/sent'
import { api, takeCase } from '../app/state'
import { titled } from '../app/titled'
import { Thumbnail } from './thumbnail'
import { forgetUpload, send, slotKey, uploads } from './uploads'

export function SlotCard(props: { found: CaseOut; entry: SequenceTerm }) {
  const { found, entry } = props
  const input = useRef<HTMLInputElement>(null)
  const name = useId()
  const upload = uploads.value[slotKey(found.id, entry.key)]
  const stored = found.series.find((series) => series.sequence === entry.key)
  const sent = stored && sentAs(found.id, stored.sha256)
  const state = upload ? (upload.problem ? 'problem' : 'sending') : stored ? 'stored' : 'empty'
  const choose = () => input.current?.click()
  const take = (file: File | undefined) => {
    if (file) void send(found.id, entry.key, file)
  }
  const drop = useDrop((data) => {
    const entries = entriesOf(data)
    // Folders, archives and several files at once are sorted by the area around the slots.
    if (entries.length !== 1 || !entries[0]?.isFile || /\.zip$/i.test(entries[0].name)) return false
    take(data.files[0])
    return true
  })
  const remove = async () => takeCase(await api.assign(found.id, { [entry.key]: null }))
  return (
    <fieldset
      class={`slot ${drop.over.value ? 'over' : ''}`}
      aria-labelledby={name}
      data-slot={entry.key}
      data-slot-state={state}
      {...drop.on}
    >
      <div class="slot-head">
        <h3 id={name}>{entry.title}</h3>
        <code class="slot-key">{entry.key}</code>
      </div>
      <p class="slot-hint">{entry.hint}</p>
      <input
        ref={input}
        class="sr-only"
        type="file"
        accept=".nii,.gz,application/gzip"
        tabIndex={-1}
        aria-label={`File for ${entry.title}`}
        data-file={entry.key}
        onChange={(event) => {
          take(event.currentTarget.files?.[0])
          event.currentTarget.value = ''
        }}
      />
      {upload && !upload.problem && (
        <div class="stack tight">
          <p class="file-name">{upload.name}</p>
          <Bar share={upload.share} label={`Sending ${entry.title}`} indeterminate={upload.share >= 1} />
          <p class="soft number">
            {upload.share >= 1 ? 'Sent; being checked…' : `${percent(upload.share)} of ${bytes(upload.bytes)}`}
          </p>
          <div class="row">
            <button type="button" class="button small quiet" onClick={() => forgetUpload(found.id, entry.key)}>
              Stop<span class="sr-only"> sending {entry.title}</span>
            </button>
          </div>
        </div>
      )}
      {upload?.problem && (
        <div class="stack tight">
          <p class="file-name">{upload.name}</p>
          <p class="slot-problem" role="alert">
            {titled(upload.problem)}
          </p>
          {stored && <p class="soft">The scan that was stored before stays in use.</p>}
          <div class="row">
            {upload.retry && (
              <button
                type="button"
                class="button small primary"
                onClick={() => void send(found.id, entry.key, upload.file)}
              >
                Try again<span class="sr-only">: {entry.title}</span>
              </button>
            )}
            <button type="button" class="button small" onClick={choose}>
              Choose another file<span class="sr-only"> for {entry.title}</span>
            </button>
            <button type="button" class="button small quiet" onClick={() => forgetUpload(found.id, entry.key)}>
              Dismiss
            </button>
          </div>
        </div>
      )}
      {!upload && stored && (
        <div class="stack tight">
          <p class="stored">
            <span class="check" aria-hidden="true">
              ✓
            </span>{' '}
            Stored
          </p>
          <Thumbnail found={found} sequence={entry.key} />
          {sent && <p class="file-name">{sent.name}</p>}
          <p class="soft small-text">
            {stored.reason ? firstUpper(titled(stored.reason)) : 'Named by you, not checked'}
          </p>
          <p class="soft number">
            {shape(stored.shape)} voxels, {spacing(stored.spacing_mm)}
            <br />
            {stored.orientation} · {sent ? `${bytes(sent.bytes)} as sent` : `${bytes(stored.bytes)} unpacked`}
          </p>
          {stored.warnings.map((warning) => (
            <p class="slot-warning" key={warning}>
              {titled(warning)}
            </p>
          ))}
          <div class="row">
            <button type="button" class="button small" onClick={choose}>
              Replace<span class="sr-only"> {entry.title}</span>
            </button>
            <Act small kind="quiet" act={remove} busy="Removing…" label={`Remove ${entry.title}`}>
              Remove
            </Act>
          </div>
        </div>
      )}
      {!upload && !stored && (
        <button type="button" class="slot-empty" onClick={choose} data-act={`choose-${entry.key}`}>
          <span class="slot-plus" aria-hidden="true">
            +
          </span>
          <span>
            Choose a file<span class="sr-only"> for {entry.title}</span>
          </span>
          <small>or drop it here: .nii or .nii.gz</small>
        </button>
      )}
    </fieldset>
  )
}
