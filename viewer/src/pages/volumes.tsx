/** Volumes per label and region, of the model's mask or of a correction; and what cleaning changed. */
import { useSignal } from '@preact/signals'
import type { CaseOut, Postprocess, Vocabulary, Volumes } from '../api/types'
import { aboutVolumes, interval, ml } from '../app/format'
import { Swatch } from '../app/parts'
import { clusterSentence, listOfParts, volumeOf, volumeRows } from '../app/vocabulary'

function Name(props: { row: ReturnType<typeof volumeRows>[number] }) {
  const { row } = props
  return (
    <th scope="row">
      <span class="row-head">
        {row.colour ? <Swatch colour={row.colour} /> : <span class="swatch none" aria-hidden="true" />}
        <span class="row-name">
          {row.name} <span class="soft nobreak">({row.key})</span>
          {row.parts.length > 0 && <span class="soft block">{row.parts.join(' + ')}</span>}
        </span>
      </span>
    </th>
  )
}

/** The volumes of the current mask, where no label list can show them. */
export function VolumesCard(props: { table: Vocabulary; found: CaseOut; volumes: Volumes; version: number }) {
  const { table, found, volumes, version } = props
  const rows = volumeRows(table)
  const intervals = rows.some((row) => interval(volumeOf(volumes, row.key)) !== '')
  return (
    <section class="card" aria-labelledby="volumes-title" data-version={version}>
      <h2 id="volumes-title">Volumes</h2>
      <table class="plain volumes">
        <thead>
          <tr>
            <th scope="col">Part</th>
            <th scope="col" class="number">
              ml
            </th>
            {intervals && (
              <th scope="col" class="number">
                Interval
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const volume = volumeOf(volumes, row.key)
            const classes = [row.colour ? '' : 'region', volume.ml ? '' : 'absent'].filter(Boolean).join(' ')
            return (
              <tr key={row.key} class={classes} data-volume={row.key} data-ml={volume.ml}>
                <Name row={row} />
                <td class="number">{ml(volume.ml)}</td>
                {intervals && <td class="number soft">{interval(volume)}</td>}
              </tr>
            )
          })}
        </tbody>
      </table>
      <p class="soft small-text">{aboutVolumes(found, version)}</p>
    </section>
  )
}

/** What the rules took away or relabelled, part by part. */
export function PostprocessCard(props: { table: Vocabulary; done: Postprocess | null | undefined; wanted: boolean }) {
  const { table, done } = props
  const all = useSignal(false)
  if (!done || !props.wanted || done.rules === 'none') {
    return (
      <section class="card" aria-labelledby="cleaning-title" data-postprocess="off">
        <h2 id="cleaning-title">Cleaning</h2>
        <p>
          {props.wanted
            ? 'The result does not say what cleaning did.'
            : 'Switched off: this is the model’s answer as it came.'}
        </p>
      </section>
    )
  }
  const rows = volumeRows(table)
  const before = (key: string) => done.before_ml?.[key] ?? 0
  const after = (key: string) => done.after_ml?.[key] ?? 0
  const counted = done.before_ml !== undefined && done.after_ml !== undefined
  const differs = (key: string) => Math.abs(before(key) - after(key)) >= 0.0005
  const [removed, renamed] = [listOfParts(done.removed_ml, ml), listOfParts(done.renamed_ml, ml)]
  const lost = rows.filter((row) => row.colour && before(row.key) > 0 && !after(row.key))
  const shown = all.value && counted ? rows : rows.filter((row) => differs(row.key))
  return (
    <section class="card" aria-labelledby="cleaning-title" data-postprocess={done.changed ? 'changed' : 'same'}>
      <h2 id="cleaning-title">Before and after cleaning</h2>
      {done.reason && (
        <p class="warn-text">The model’s own rules were not applied: {done.reason}. Simpler ones stood in.</p>
      )}
      <p>{done.changed ? 'The rules changed the model’s mask.' : 'The rules changed nothing.'}</p>
      {lost.length > 0 && (
        <p class="warn-text">
          {lost.map((row) => `${row.name} (${row.key})`).join(', ')}: nothing is left of it. Compare with the model’s
          own mask.
        </p>
      )}
      {counted && (
        <label class="tick">
          <input
            type="checkbox"
            checked={all.value}
            onChange={(event) => {
              all.value = event.currentTarget.checked
            }}
            data-act="cleaning-all"
          />
          <span>Show all parts, also those that stayed the same</span>
        </label>
      )}
      {shown.length > 0 && (
        <table class="plain volumes">
          <thead>
            <tr>
              <th scope="col">Part</th>
              <th scope="col" class="number">
                Before, ml
              </th>
              <th scope="col" class="number">
                After, ml
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={row.key} class={row.colour ? '' : 'region'} data-changed={differs(row.key)}>
                <Name row={row} />
                <td class="number">{ml(before(row.key))}</td>
                <td class="number">{differs(row.key) ? <strong>{ml(after(row.key))}</strong> : ml(after(row.key))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {removed && <p>Made background: {removed}.</p>}
      {renamed && <p>Given another label: {renamed}.</p>}
      {done.rules && (
        <p class="soft small-text">
          Rules: {done.rules}. {!done.reason && clusterSentence(done)} Counted in atlas space.
        </p>
      )}
    </section>
  )
}
