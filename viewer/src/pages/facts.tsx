/** What a reader must know of a result beside the numbers: doubts, sequences, model. */
import type { CaseOut, Harmonization, QcFlag, Vocabulary } from '../api/types'
import { badgeOf, wordOf, worstFirst } from '../app/remarks'
import { titled } from '../app/titled'
import { sentenceOf, sequenceTitle } from '../app/vocabulary'

const REGION_TITLES: [string, string][] = [
  ['WT', 'whole tumour'],
  ['TC', 'tumour core'],
  ['ET', 'enhancing tumour'],
]

/** How good the model's result is expected to be: the verdict first, then the figures of each region. */
export function ExpectedQuality(props: { expected: NonNullable<CaseOut['expected_quality']>; corrected: boolean }) {
  const { verdict, regions, fitted_on } = props.expected
  const figures = REGION_TITLES.flatMap(([key, title]) => {
    const one = regions?.[key]
    return one
      ? [
          `${title}: Dice about ${one.dice.toFixed(2)} (${one.low.toFixed(2)} to ${one.high.toFixed(2)}), ${one.verdict}`,
        ]
      : []
  })
  return (
    <p class="expected-quality" data-expected-quality={verdict}>
      <span class={`badge ${verdict === 'likely poor' ? 'failed' : verdict === 'check' ? 'warned' : ''}`}>
        Expected quality{props.corrected ? ' of the model’s result' : ''}: {verdict}
      </span>{' '}
      <span class="soft">
        {figures.length ? sentenceOf(figures.join('; ')) : 'Nothing was marked, so there is no figure.'} Fitted on{' '}
        {fitted_on}.
      </span>
    </p>
  )
}

export function QualityCard(props: { flags: QcFlag[] }) {
  const flags = worstFirst(props.flags)
  return (
    <section class="card" aria-labelledby="quality-title" data-flags={flags.length}>
      <h2 id="quality-title">Quality</h2>
      {flags.length === 0 ? (
        <p>The automatic checks have no remarks. That is no proof that the result is right.</p>
      ) : (
        <ul class="flags">
          {flags.map((flag) => (
            <li
              key={`${flag.code}-${flag.sequence}-${flag.reason}`}
              data-flag={flag.code}
              data-severity={flag.severity}
            >
              <span class={badgeOf(flag)}>{wordOf(flag)}</span>
              <span>{titled(flag.reason)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}

/** What brightness matching did to each sequence; nothing where it was not asked for. */
export function HarmonizationCard(props: { table: Vocabulary; done: Harmonization | null | undefined }) {
  const { table, done } = props
  if (!done) return null
  const given = table.sequences.flatMap(({ key, title }) => {
    const facts = done.sequences?.[key]
    return facts ? [{ key, title, ...facts }] : []
  })
  const any = given.some(({ changed }) => changed)
  return (
    <section class="card" aria-labelledby="matching-title" data-harmonized={any}>
      <h2 id="matching-title">Brightness matching</h2>
      <p>
        {any
          ? 'The model saw the changed sequences after matching; the viewer shows them before and after.'
          : 'Asked for, but no sequence passed the check of its anatomy: the model saw the originals.'}
      </p>
      <ul class="sequences" aria-label="Sequences after brightness matching">
        {given.map(({ key, title, changed, reason }) => (
          <li key={key} data-sequence={key} data-changed={changed}>
            <span>{title}</span>
            <span class={changed ? 'badge' : 'badge warned'}>{changed ? 'Changed' : 'Passed on unchanged'}</span>
            {reason && <small class="soft">{sentenceOf(titled(reason))}</small>}
          </li>
        ))}
      </ul>
      <p class="soft small-text">
        Method: {done.asked}
        {done.style && `, to the style ${done.style}`}. Edges and the contrast of suspected lesions were compared before
        and after.
      </p>
    </section>
  )
}

export function AboutCard(props: { table: Vocabulary; found: CaseOut }) {
  const { table, found } = props
  const missing = new Set(found.missing ?? [])
  return (
    <section class="card" aria-labelledby="about-title">
      <h2 id="about-title">About this result</h2>
      <ul class="sequences" aria-label="Sequences">
        {table.sequences.map((entry) => (
          <li key={entry.key} data-sequence={entry.key} data-missing={missing.has(entry.key)}>
            <span>{entry.title}</span>
            {missing.has(entry.key) ? (
              <span class="badge warned">Missing</span>
            ) : found.reference === entry.key ? (
              <span class="badge">Given; the mask lies on it</span>
            ) : (
              <span class="badge">Given</span>
            )}
          </li>
        ))}
      </ul>
      {missing.size > 0 && (
        <p class="warn-text">
          The model had to do without {[...missing].map((key) => sequenceTitle(table, key)).join(', ')}; trust the
          result less.
        </p>
      )}
      {found.model && (
        <dl class="facts">
          <dt>Model</dt>
          <dd>
            <code data-model={found.model.id}>{found.model.id}</code>
            {found.model.version && ` ${found.model.version}`}
          </dd>
          {found.model.members && (
            <>
              <dt>Networks</dt>
              <dd>
                {found.model.members} in one ensemble, {found.model.precision},{' '}
                {found.model.mirroring ? 'with' : 'without'} mirroring
              </dd>
            </>
          )}
          {found.model.licence && (
            <>
              <dt>Licence</dt>
              <dd>{found.model.licence}</dd>
            </>
          )}
          {found.model.sha256 && (
            <>
              <dt>SHA-256</dt>
              <dd>
                <code class="hash">{found.model.sha256.slice(0, 16)}…</code>
              </dd>
            </>
          )}
        </dl>
      )}
      {found.model?.note && <p class="soft">{found.model.note}</p>}
    </section>
  )
}
